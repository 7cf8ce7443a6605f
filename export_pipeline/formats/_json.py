"""Rows as JSON texts, one for each, for the formats that are made of them.

Numbers stay numbers with all their digits, timestamps are ISO 8601 in UTC with six digits and `Z`, JSON values are
nested as they are. JSON knows neither NaN nor infinity: those are refused, and so is half of a surrogate pair.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC
from itertools import groupby
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

from pydantic import Field

from export_pipeline import __version__
from export_pipeline.formats._sink import RowCount, SinkTarget, refusing, surfacing
from export_pipeline.formats._surrogates import refuse_halves
from export_pipeline.model.dataset import Column, Kind
from export_pipeline.model.format import FileContext, TextOptions

if TYPE_CHECKING:
    import polars as pl


class JsonValueOptions(TextOptions):
    """What can be chosen for values in JSON."""

    decimals: Literal["number", "text"] = Field(
        "number",
        description="`number`: with all digits, though many programs read them as binary floating point; `text`: "
        "quoted, exact for every program.",
    )


def write_rows(
    frame: pl.LazyFrame,
    target: BinaryIO,
    context: FileContext,
    options: JsonValueOptions,
    *,
    separator: str = "\n",
    indent: str = "",
) -> int:
    """Writes each row's JSON text and the separator after it. With `indent`, each field has a line of its own that
    begins with it. Returns the number of rows. Raises Rejected for a value that JSON does not know."""
    import polars as pl

    count, sink = RowCount(), SinkTarget(target)
    values = [column.name for column in context.columns if column.type.kind is Kind.JSON]
    known = refuse_halves(_finite(frame, context.columns), values)
    text = pl.concat_str(list(_row(context.columns, options, indent))).alias("row")
    with surfacing(sink):
        count.put_into(known).select(text).sink_csv(
            cast(BinaryIO, sink),
            include_header=False,
            line_terminator=separator,
            quote_style="never",
            maintain_order=True,
            engine="streaming",
        )
    return count.rows


def metadata(context: FileContext) -> dict[str, Any]:
    """What a file says about itself."""
    return {
        "export_id": context.export_id,
        "dataset": context.dataset,
        "title": context.title,
        "snapshot_at": context.snapshot_at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "columns": [
            {"name": column.name, "type": str(column.type), "description": column.description}
            for column in context.columns
        ],
        "written_by": f"export_pipeline {__version__}",
    }


def _row(columns: tuple[Column, ...], options: JsonValueOptions, indent: str) -> Iterator[pl.Expr]:
    """The pieces of a row's text."""
    import polars as pl

    def is_verbatim(column: Column) -> bool:
        return column.type.kind is Kind.JSON or (column.type.kind is Kind.DECIMAL and options.decimals == "number")

    line = f"\n{indent}" if indent else ""
    before = "{"
    for verbatim, group in groupby(columns, is_verbatim):
        members = list(group)
        # Encoding many columns at once is quicker; on lines of their own they are encoded one by one.
        for part in [[column] for column in members] if verbatim or indent else [members]:
            if verbatim:
                name = json.dumps(part[0].name, ensure_ascii=False)
                yield pl.lit(f"{before}{line}{name}:")
                yield _verbatim(part[0])
            else:
                yield pl.lit(f"{before}{line}")
                yield _encoded(part)
            before = ","
    yield pl.lit(f"\n{indent[: len(indent) // 2]}}}" if indent else "}")


def _encoded(columns: list[Column]) -> pl.Expr:
    """`"name":value` of the columns, with commas between."""
    import polars as pl

    fields = pl.struct(
        pl.col(column.name).dt.replace_time_zone(None).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
        if column.type.kind is Kind.TIMESTAMP
        else pl.col(column.name)
        for column in columns
    )
    return fields.struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")


def _verbatim(column: Column) -> pl.Expr:
    """The column's text as it is. A line break can only stand between two tokens there: strings have none."""
    import polars as pl

    text = pl.col(column.name).cast(pl.String)
    if column.type.kind is Kind.JSON:
        text = text.str.replace_all(r"[\r\n]", " ")
    return text.fill_null("null")


def _finite(frame: pl.LazyFrame, columns: tuple[Column, ...]) -> pl.LazyFrame:
    """The frame, which fails at a number that JSON does not know."""
    import polars as pl

    floats = [column.name for column in columns if column.type.kind is Kind.FLOAT]
    if not floats:
        return frame

    def refusal(row: int, name: str) -> str:
        return (
            f"row {row:,}: {name} is NaN or infinity, which JSON does not know; leave the column out, choose another "
            "format, or cast it to text in the dataset's file"
        )

    return refusing(frame, {name: ~pl.col(name).is_finite() for name in floats}, refusal)
