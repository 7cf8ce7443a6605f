"""Rows gathered to blocks of about one size, for formats that hold one in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


class Blocks:
    """Gathers batches to blocks of so many rows, or of about so many bytes where these come first: wide rows are many
    bytes before they are many."""

    def __init__(self, most_rows: int, most_bytes: int) -> None:
        self._most_rows = most_rows
        self._most_bytes = most_bytes
        self._gathered: list[pl.DataFrame] = []
        self._rows = self._bytes = 0

    def put(self, batch: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Takes the batch; yields what is complete."""
        row_bytes = max(1, batch.estimated_size() / max(1, batch.height))
        while batch.height:
            part = batch.head(min(self._most_rows - self._rows, ceil((self._most_bytes - self._bytes) / row_bytes)))
            batch = batch.slice(part.height)
            self._gathered.append(part)
            self._rows += part.height
            self._bytes += int(part.estimated_size())
            if self._rows >= self._most_rows or self._bytes >= self._most_bytes:
                yield from self.rest()

    def rest(self) -> Iterator[pl.DataFrame]:
        """What is gathered, if anything."""
        import polars as pl

        if self._gathered:
            rows = pl.concat(self._gathered)
            self._gathered.clear()
            self._rows = self._bytes = 0
            yield rows
