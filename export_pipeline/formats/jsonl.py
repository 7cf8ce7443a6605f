"""JSON Lines: one JSON object per line, for programs that read row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from export_pipeline.formats._json import JsonValueOptions, write_rows
from export_pipeline.formats._json_reader import LINES
from export_pipeline.model.format import FileContext, Format

if TYPE_CHECKING:
    import polars as pl


def write(frame: pl.LazyFrame, target: BinaryIO, context: FileContext, options: JsonValueOptions) -> int:
    """Writes the frame as JSON Lines; see `Write`. Raises Rejected for NaN and infinity."""
    return write_rows(frame, target, context, options)


FORMAT = Format(
    name="jsonl",
    title="JSON Lines",
    description="One JSON object per line, in UTF-8; JSON values are nested. NaN and infinity are refused.",
    extension="jsonl",
    media_type="application/x-ndjson",
    options=JsonValueOptions,
    write=write,
    for_people=lambda options: False,
    reader=LINES,
)
