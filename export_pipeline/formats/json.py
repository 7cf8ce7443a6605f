"""JSON: one document with what the file is and an array of rows; streamed like the others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, BinaryIO, cast

from pydantic import Field

from export_pipeline.formats._json import JsonValueOptions, metadata, write_rows
from export_pipeline.formats._json_reader import DOCUMENT
from export_pipeline.model.format import FileContext, Format

if TYPE_CHECKING:
    import polars as pl


class JsonOptions(JsonValueOptions):
    """What can be chosen for a JSON document."""

    envelope: bool = Field(
        True,
        description='Whether the document is `{"metadata": {…}, "data": […]}` or the bare array of rows.',
    )
    indent: int = Field(
        0, ge=0, le=8, description="Spaces to indent by, with each field on a line of its own; 0: one line per row."
    )


def write(frame: pl.LazyFrame, target: BinaryIO, context: FileContext, options: JsonOptions) -> int:
    """Writes the frame as one JSON document; see `Write`. Raises Rejected for NaN and infinity."""
    indent = " " * options.indent
    begin, end = "[", "\n]\n"
    if options.envelope:
        described = json.dumps(metadata(context), ensure_ascii=False)
        begin, end = f'{{"metadata": {described},\n"data": [', "\n]}\n"
    target.write(begin.encode())
    separator = f",\n{indent}"
    rows = _Between(target, first=separator[1:].encode(), separator_bytes=len(separator))
    count = write_rows(frame, cast(BinaryIO, rows), context, options, separator=separator, indent=indent * 2)
    target.write(end.encode())
    return count


class _Between:
    """Passes rows on, without the separator after the last: the end of what has come waits for what follows."""

    def __init__(self, target: BinaryIO, *, first: bytes, separator_bytes: int) -> None:
        self._target = target
        self._held = b""
        self._first = first
        self._separator_bytes = separator_bytes

    def write(self, data: bytes) -> int:
        """Takes the next bytes of rows that each end with the separator."""
        if self._first:
            self._target.write(self._first)
            self._first = b""
        view = memoryview(data)
        if len(view) < self._separator_bytes:
            view, self._held = memoryview(self._held + data), b""
        if self._held:
            self._target.write(self._held)
        cut = max(0, len(view) - self._separator_bytes)
        self._target.write(view[:cut])
        self._held = bytes(view[cut:])
        return len(data)

    def flush(self) -> None:
        """Nothing to do: whoever opened the target ends it."""


FORMAT = Format(
    name="json",
    title="JSON",
    description="One JSON document in UTF-8: what the file is, and an array of rows, streamed; JSON values are nested. "
    "NaN and infinity are refused.",
    extension="json",
    media_type="application/json",
    options=JsonOptions,
    write=write,
    for_people=lambda options: False,
    reader=DOCUMENT,
)
