"""CSV: text that every program reads, as a spreadsheet opens it safely or byte-exact for machines.

Timestamps are ISO 8601 in UTC with six digits and `Z`, dates ISO 8601, decimals with the declared scale, booleans
`true` and `false`, floats the shortest text that reads back as the same number (`NaN`, `inf`, `-inf`). Null is an empty
field, an empty text is `""`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Literal, cast

from pydantic import Field

from export_pipeline.formats._sink import RowCount, SinkTarget, surfacing
from export_pipeline.model.dataset import Kind
from export_pipeline.model.format import FileContext, Format, Options

if TYPE_CHECKING:
    import polars as pl

# A text starts a formula where one of these comes first, after any apostrophes, white space and invisible characters.
# Tab, CR, LF and NUL start one by themselves. The full-width forms count: some spreadsheets fold them.
_TRIGGERS = r"=+\-@|%＝＋－＠｜％"

#: What gets an apostrophe in front. Text that is wholly a signed number (a phone in E.164, -12.5) does not match: the
#: first branch lists how a text that begins with a sign can fail to be one, as these expressions know no look-ahead.
#: The rule is reversible: take one apostrophe off whatever begins with one and would match without it.
FORMULA = (
    r"^(?:"
    r"[+-](?:\z|[0-9]*[^0-9.]|\.|[0-9]+\.(?:\z|[0-9]*[^0-9]))"
    r"|[=@|%＝＋－＠｜％\t\r\n\x00]"
    rf"|['\s\p{{Cf}}]+[{_TRIGGERS}\t\r\n\x00]"
    r")"
)

_TEXTS = frozenset({Kind.TEXT, Kind.UUID, Kind.JSON})
_DELIMITERS = {",": ",", ";": ";", "tab": "\t", "|": "|"}


class CsvOptions(Options):
    """What can be chosen for a CSV file."""

    profile: Literal["spreadsheet", "raw"] = Field(
        "spreadsheet",
        description="`spreadsheet`: BOM, CRLF, and an apostrophe before text that a spreadsheet would take for a "
        "formula; `raw`: no BOM, LF, every value as it is.",
    )
    delimiter: Literal[",", ";", "tab", "|"] = Field(",", description="What stands between two fields.")
    line_ending: Literal["crlf", "lf"] | None = Field(
        None, description="What ends a line. Default: `crlf` for `spreadsheet`, `lf` for `raw`."
    )
    bom: bool | None = Field(
        None, description="Whether the file starts with a byte order mark. Default: only for `spreadsheet`."
    )


def defused(text: pl.Expr) -> pl.Expr:
    """The text with one apostrophe in front where a spreadsheet would run it as a formula."""
    import polars as pl

    # Measured: a third of what str.replace takes.
    return pl.when(text.str.contains(FORMULA)).then("'" + text).otherwise(text)


def write(frame: pl.LazyFrame, target: BinaryIO, context: FileContext, options: CsvOptions) -> int:
    """Writes the frame as CSV; see `Write`. Every value can be held."""
    for_spreadsheets = options.profile == "spreadsheet"
    line_ending = options.line_ending or ("crlf" if for_spreadsheets else "lf")
    count, sink = RowCount(), SinkTarget(target)
    rows = count.put_into(frame)
    with surfacing(sink):
        (rows.select(_defused_columns(context)) if for_spreadsheets else rows).sink_csv(
            cast(BinaryIO, sink),
            include_bom=for_spreadsheets if options.bom is None else options.bom,
            separator=_DELIMITERS[options.delimiter],
            line_terminator={"crlf": "\r\n", "lf": "\n"}[line_ending],
            datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ",
            # With one column, a null would be an empty line, which many programs skip: better null as "" than a row
            # less. `raw` stays exact.
            null_value='""' if for_spreadsheets and len(context.columns) == 1 else None,
            quote_style="necessary",
            maintain_order=True,
            engine="streaming",
        )
    return count.rows


def _defused_columns(context: FileContext) -> list[pl.Expr]:
    """The columns, and their names too, without formulas."""
    import polars as pl

    names = pl.Series([column.name for column in context.columns], dtype=pl.String)
    return [
        (defused(pl.col(column.name)) if column.type.kind in _TEXTS else pl.col(column.name)).alias(header)
        for column, header in zip(context.columns, pl.select(defused(pl.lit(names))).to_series(), strict=True)
    ]


FORMAT = Format(
    name="csv",
    title="CSV",
    description="Text with one line per row, in UTF-8 (RFC 4180). Safe to open in a spreadsheet, or raw for machines.",
    extension="csv",
    media_type="text/csv; charset=utf-8",
    options=CsvOptions,
    write=write,
    for_people=lambda options: options.profile == "spreadsheet",
)
