"""CSV: text that every program reads, as a spreadsheet opens it safely or byte-exact for machines."""

from __future__ import annotations

import string
from typing import Self

from pydantic import Field, field_validator, model_validator

from export_pipeline.formats._delimited import DelimitedOptions, write
from export_pipeline.formats._delimited_reader import READER
from export_pipeline.model.format import Format

#: What can stand between two fields: punctuation that is no part of a number, a date, a name or a quoted field.
_DELIMITERS = {name: name for name in string.punctuation if name not in "\"'.-+_"} | {"tab": "\t"}


class CsvOptions(DelimitedOptions):
    """What can be chosen for a CSV file."""

    delimiter: str | None = Field(
        None,
        description="What stands between two fields: `tab` or a punctuation mark such as `;` or `|`. Default: a comma; "
        "with a decimal comma a semicolon.",
    )

    @field_validator("delimiter")
    @classmethod
    def _is_possible(cls, delimiter: str | None) -> str | None:
        if delimiter is not None and delimiter not in _DELIMITERS:
            raise ValueError(f"delimiter={delimiter!r} is none of: {' '.join(_DELIMITERS)}")
        return delimiter

    @model_validator(mode="after")
    def _comma_is_in_numbers_only(self) -> Self:
        if self.has_decimal_comma and self.separator == ",":
            raise ValueError("a decimal comma goes with another delimiter than the comma, such as ;")
        return self

    @property
    def separator(self) -> str:
        """The one character between two fields."""
        return _DELIMITERS[self.delimiter or (";" if self.has_decimal_comma else ",")]


FORMAT = Format(
    name="csv",
    title="CSV",
    description="Text with one line per row, in UTF-8 (RFC 4180). Safe to open in a spreadsheet, or raw for machines.",
    extension="csv",
    media_type="text/csv; charset=utf-8",
    options=CsvOptions,
    write=write,
    for_people=lambda options: options.for_spreadsheets,
    reader=READER,
)
