"""Text with one line per row and a delimiter between fields: what CSV and TSV have in common.

Timestamps are ISO 8601 in UTC with six digits and `Z`, dates ISO 8601, decimals with the declared scale, booleans
`true` and `false`, floats the shortest text that reads back as the same number (`NaN`, `inf`, `-inf`). Null is an empty
field, an empty text is `""`, unless the options say otherwise; where the two could not be told apart, the export fails.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Literal, Self, cast

from pydantic import Field, field_validator, model_validator

from export_pipeline.formats._formulas import defused
from export_pipeline.formats._locale import LOCALES, Locale, date_format, moments
from export_pipeline.formats._sink import RowCount, SinkTarget, refusing, surfacing
from export_pipeline.formats._zone import Zone
from export_pipeline.model.dataset import Column, Kind
from export_pipeline.model.errors import Rejected
from export_pipeline.model.format import FileContext, TextOptions

if TYPE_CHECKING:
    import polars as pl

TEXTS = frozenset({Kind.TEXT, Kind.UUID, Kind.JSON})
#: What columns that are no text may hold, and null so cannot be.
_VALUE = re.compile(r"^\s*(?:[-+]?[0-9].*|[-+]?\.[0-9].*|true|false|[-+]?(?:nan|inf|infinity))\s*$", re.IGNORECASE)
#: What a field without quotes cannot hold, beside the delimiter.
_SPECIAL = r'["\r\n]'
_MOMENT = "%Y-%m-%dT%H:%M:%S%.6fZ"


class DelimitedOptions(TextOptions):
    """What can be chosen for delimited text."""

    profile: Literal["spreadsheet", "raw"] = Field(
        "spreadsheet",
        description="`spreadsheet`: BOM, CRLF, and an apostrophe before text that a spreadsheet would take for a "
        "formula, also within a text where it may be split; `raw`: no BOM, LF, every value as it is.",
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
        "text or a column's name with a delimiter, quote or line break.",
    )
    null_text: str = Field(
        "",
        max_length=20,
        pattern=r"^[A-Za-z0-9_\\.()<>/ -]*$",
        description=r"What stands for null, such as `NULL` or `\N`, without the delimiter. Default: an empty field.",
    )
    decimal_comma: bool | None = Field(
        None, description="Whether decimals and floats have a comma: 12,50. Default: as the locale has it, else no."
    )
    timezone: Zone = Field(
        "UTC",
        description="For `spreadsheet`: the zone that timestamps are shown in, with their offset, by its IANA name, "
        "such as `Europe/Vienna`.",
    )
    locale: Locale | None = Field(
        None,
        description="For `spreadsheet`: whose decimal comma and dates, such as 21.11.2026 for `de`; see "
        "[Columns and templates](columns-and-templates.md#for-people). Default: ISO 8601 and a point.",
    )

    @field_validator("null_text")
    @classmethod
    def _is_no_value(cls, text: str) -> str:
        if _VALUE.match(text):
            raise ValueError(f"null_text={text!r} looks like a number, a date or true or false; take NULL, for example")
        return text

    @model_validator(mode="after")
    def _null_is_one_field(self) -> Self:
        # Null is never in quotes, which would make a text of it.
        if self.separator in self.null_text:
            raise ValueError(
                f"null_text={self.null_text!r} holds the delimiter {self.separator}, and would be two fields; choose "
                "another null_text or delimiter"
            )
        return self

    @model_validator(mode="after")
    def _display_is_for_people(self) -> Self:
        if self.profile == "raw" and (self.locale or self.timezone != "UTC"):
            raise ValueError(
                "timezone and locale are for people, and raw is for machines: leave them out, or take "
                "profile=spreadsheet"
            )
        return self

    @property
    def has_decimal_comma(self) -> bool:
        """Whether decimals and floats have a comma."""
        if self.decimal_comma is not None:
            return self.decimal_comma
        return self.locale is not None and LOCALES[self.locale].decimal_comma

    @property
    def shown(self) -> frozenset[Kind]:
        """The kinds of columns that are written as the options' zone or locale has them."""
        if self.locale:
            return frozenset({Kind.TIMESTAMP, Kind.DATE})
        return frozenset() if self.timezone == "UTC" else frozenset({Kind.TIMESTAMP})

    @property
    def written_as_texts(self) -> frozenset[Kind]:
        """The kinds of columns, beside texts, that are made texts: where Polars writes these, it does not look whether
        they hold the delimiter."""
        return self.shown | {Kind.TIMESTAMP} if self.separator in _MOMENT else self.shown

    @property
    def separator(self) -> str:
        """The one character between two fields."""
        return "\t"

    @property
    def line_end(self) -> str:
        """What ends a line."""
        chosen = self.line_ending or ("crlf" if self.for_spreadsheets else "lf")
        return {"crlf": "\r\n", "lf": "\n"}[chosen]

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
    import polars as pl

    count, sink = RowCount(), SinkTarget(target)
    rows = count.put_into(frame)
    if options.for_spreadsheets:
        rows = rows.select(_columns_for_people(context.columns, options))
    # All are in UTC by now, and without being told so Polars writes them in half the time.
    moments_left = pl.selectors.datetime(time_zone="UTC").dt.replace_time_zone(None)
    as_texts = Kind.TIMESTAMP in options.written_as_texts
    rows = rows.with_columns(moments_left.dt.strftime(_MOMENT) if as_texts else moments_left)
    with surfacing(sink):
        _checked(rows, context.columns, options).sink_csv(
            cast(BinaryIO, sink),
            include_bom=options.for_spreadsheets if options.bom is None else options.bom,
            separator=options.separator,
            line_terminator=options.line_end,
            datetime_format=_MOMENT,
            decimal_comma=options.has_decimal_comma,
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


def _columns_for_people(columns: tuple[Column, ...], options: DelimitedOptions) -> list[pl.Expr]:
    """The columns, and their names too, without formulas; dates and timestamps as the options have them shown."""
    import polars as pl

    harmless = partial(defused, separator=options.separator)

    def shown(column: Column) -> pl.Expr:
        values = pl.col(column.name)
        if column.type.kind in TEXTS:
            return values.map_batches(harmless, return_dtype=pl.String, is_elementwise=True)
        if column.type.kind not in options.shown:
            return values
        if column.type.kind is Kind.DATE:
            return values.dt.strftime(date_format(options.locale))
        return moments(values, options.timezone, options.locale)

    names = pl.Series([column.name for column in columns], dtype=pl.String)
    return [shown(column).alias(header) for column, header in zip(columns, harmless(names), strict=True)]


def _checked(frame: pl.LazyFrame, columns: tuple[Column, ...], options: DelimitedOptions) -> pl.LazyFrame:
    """The frame, which fails at a text that these options cannot write."""
    import polars as pl

    names = list(frame.collect_schema())
    if options.quoting == "never":
        _check_names(names, options)
    kinds = TEXTS | options.written_as_texts
    texts = [name for name, column in zip(names, columns, strict=True) if column.type.kind in kinds]
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
            f"with quoting={options.quoting}, null_text={options.null_text!r} and {options.separator!r} between fields "
            "there is no way to write it; choose another quoting or null_text"
        )

    return refusing(frame, {name: wrong(pl.col(name)) for name in texts}, refusal)


def _check_names(names: list[str], options: DelimitedOptions) -> None:
    """Raises Rejected for a name that cannot stand in a header without quotes."""
    for name in names:
        if options.separator in name or re.search(_SPECIAL, name):
            raise Rejected(
                f"the column's name {name!r} holds a delimiter, quote or line break, and with quoting=never there is "
                "no way to write it; rename the column, or choose another quoting"
            )
