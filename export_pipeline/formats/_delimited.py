"""Text with one line per row and a delimiter between fields: what CSV and TSV have in common.

Timestamps are ISO 8601 in UTC with six digits and `Z`, dates ISO 8601, decimals with the declared scale, booleans
`true` and `false`, floats the shortest text that reads back as the same number (`NaN`, `inf`, `-inf`). Null is an empty
field, an empty text is `""`, unless the options say otherwise; where the two could not be told apart, the export fails.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

from pydantic import Field, field_validator

from export_pipeline.formats._formulas import defused
from export_pipeline.formats._sink import RowCount, SinkTarget, refusing, surfacing
from export_pipeline.model.dataset import Column, Kind
from export_pipeline.model.format import FileContext, TextOptions

if TYPE_CHECKING:
    import polars as pl

TEXTS = frozenset({Kind.TEXT, Kind.UUID, Kind.JSON})
#: What a field without quotes cannot hold, beside the delimiter.
#: What columns that are no text may hold, and null so cannot be.
_VALUE = re.compile(r"^\s*(?:[-+]?[0-9].*|[-+]?\.[0-9].*|true|false|[-+]?(?:nan|inf|infinity))\s*$", re.IGNORECASE)
_SPECIAL = r'["\r\n]'


class DelimitedOptions(TextOptions):
    """What can be chosen for delimited text."""

    profile: Literal["spreadsheet", "raw"] = Field(
        "spreadsheet",
        description="`spreadsheet`: BOM, CRLF, and an apostrophe before text that a spreadsheet would take for a "
        "formula; `raw`: no BOM, LF, every value as it is.",
    )
    line_ending: Literal["crlf", "lf"] | None = Field(
        None, description="What ends a line. Default: `crlf` for `spreadsheet`, `lf` for `raw`."
    )
    bom: bool | None = Field(
        None, description="Whether the file starts with a byte order mark. Default: only for `spreadsheet`."
    )
    quoting: Literal["necessary", "always", "non_numeric", "never"] = Field(
        "necessary",
        description="Which fields are in quotes: those that need it; all; all texts and dates; none, which refuses a "
        "text with a delimiter, quote or line break.",
    )
    null_text: str = Field(
        "",
        max_length=20,
        pattern=r"^[A-Za-z0-9_\\.()<>/ -]*$",
        description=r"What stands for null, such as `NULL` or `\N`. Default: an empty field.",
    )
    decimal_comma: bool = Field(False, description="Whether decimals and floats have a comma: 12,50.")

    @field_validator("null_text")
    @classmethod
    def _is_no_value(cls, text: str) -> str:
        if _VALUE.match(text):
            raise ValueError(f"null_text={text!r} looks like a number, a date or true or false; take NULL, for example")
        return text

    @property
    def separator(self) -> str:
        """The one character between two fields."""
        return "\t"

    @property
    def for_spreadsheets(self) -> bool:
        """Whether the file is meant to be opened by a spreadsheet."""
        return self.profile == "spreadsheet"

    @property
    def null_looks_like_text(self) -> bool:
        """Whether a text that is equal to `null_text` could not be told from null."""
        return self.quoting in ("always", "never") or (self.quoting == "necessary" and self.null_text != "")


def write(frame: pl.LazyFrame, target: BinaryIO, context: FileContext, options: DelimitedOptions) -> int:
    """Writes the frame; see `Write`. Raises Rejected for a text that these options leave no way to write."""
    line_ending = options.line_ending or ("crlf" if options.for_spreadsheets else "lf")
    count, sink = RowCount(), SinkTarget(target)
    rows = count.put_into(frame)
    if options.for_spreadsheets:
        rows = rows.select(_defused_columns(context.columns))
    with surfacing(sink):
        _checked(rows, context.columns, options).sink_csv(
            cast(BinaryIO, sink),
            include_bom=options.for_spreadsheets if options.bom is None else options.bom,
            separator=options.separator,
            line_terminator={"crlf": "\r\n", "lf": "\n"}[line_ending],
            datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ",
            decimal_comma=options.decimal_comma,
            null_value=null_field(context.columns, options) or None,
            quote_style=options.quoting,
            maintain_order=True,
            engine="streaming",
        )
    return count.rows


def null_field(columns: tuple[Column, ...], options: DelimitedOptions) -> str:
    """What is written for null."""
    # With one column, a null would be an empty line, which many programs skip: better null as "" than a row less. `raw`
    # stays exact.
    alone = len(columns) == 1 and options.for_spreadsheets and options.quoting in ("necessary", "non_numeric")
    return options.null_text or ('""' if alone else "")


def _defused_columns(columns: tuple[Column, ...]) -> list[pl.Expr]:
    """The columns, and their names too, without formulas."""
    import polars as pl

    names = pl.Series([column.name for column in columns], dtype=pl.String)
    return [
        (defused(pl.col(column.name)) if column.type.kind in TEXTS else pl.col(column.name)).alias(header)
        for column, header in zip(columns, pl.select(defused(pl.lit(names))).to_series(), strict=True)
    ]


def _checked(frame: pl.LazyFrame, columns: tuple[Column, ...], options: DelimitedOptions) -> pl.LazyFrame:
    """The frame, which fails at a text that these options cannot write."""
    import polars as pl

    texts = [name for name, column in zip(frame.collect_schema(), columns, strict=True) if column.type.kind in TEXTS]
    if not texts or not (options.null_looks_like_text or options.quoting == "never"):
        return frame

    def wrong(text: pl.Expr) -> pl.Expr:
        ambiguous = text == pl.lit(options.null_text) if options.null_looks_like_text else pl.lit(False)
        if options.quoting != "never":
            return ambiguous
        return ambiguous | text.str.contains(_SPECIAL) | text.str.contains(options.separator, literal=True)

    def refusal(row: int, name: str) -> str:
        return (
            f"row {row:,}: the text of {name} cannot be told from null, or holds a delimiter, quote or line break, and "
            f"with quoting={options.quoting} and null_text={options.null_text!r} there is no way to write it; choose "
            "another quoting or null_text"
        )

    return refusing(frame, {name: wrong(pl.col(name)) for name in texts}, refusal)
