"""The proof that a file holds the rows that were read: what is computed on both sides, and how a file is read again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from export_pipeline.model.dataset import Column

if TYPE_CHECKING:
    import polars as pl


class Verify(StrEnum):
    """How much of a finished file is read again and compared: all rows, their number and the first of them, nothing."""

    FULL = "full"
    SAMPLE = "sample"
    OFF = "off"


class Verification(StrEnum):
    """What came of it: `sampled` and `passed` are proofs, `off` is none."""

    OFF = "off"
    SAMPLED = "sampled"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True)
class Certificate:
    """What rows add up to. `nulls` and `sums` are by column (sums of numeric ones, as text); `fingerprint` and
    `head_fingerprint` (of the first `head_rows`) do not depend on the rows' order, and are hexadecimal. `algorithm`
    names how they were computed: those of another one cannot be compared. Of a sample there is the head alone."""

    algorithm: str
    rows: int
    nulls: Mapping[str, int]
    sums: Mapping[str, str]
    fingerprint: str
    head_rows: int
    head_fingerprint: str


class Content(Protocol):
    """What a finished file holds, unpacked, for as many readings as it takes. Raises Broken where it cannot be
    unpacked."""

    def chunks(self) -> Iterator[bytes | memoryview]:
        """Its bytes, from the first to the last."""

    def file(self) -> AbstractContextManager[Path]:
        """The same as a file of this machine, to be read only."""


#: Reads the rows of a finished file, or the first so many: batches with the columns' names, in order, and the types
#: that `held` gives them. Raises Broken where the file is not what it should be.
ReadRows = Callable[[Content, tuple[Column, ...], Any, int | None], "Iterator[pl.DataFrame]"]
#: How many rows a finished file has.
CountRows = Callable[[Content, tuple[Column, ...], Any], int]
#: A batch as a file of the format holds it, where that is less than exact: a single column's null in CSV, say.
Hold = Callable[["pl.DataFrame", tuple[Column, ...], Any], "pl.DataFrame"]
#: A value that was read as somebody who opens the file sees it, where that is not the value itself.
Show = Callable[[Column, Any], Any]


@dataclass(frozen=True)
class Reader:
    """Reads a format's files again, with another library than the one that writes them. `usual` is how much, where
    nobody says; `part` yields, for a file of several datasets, the reader of one of them, by its place from 0. `exact`
    does the same as `rows` and `count`, more slowly, where these may be wrong about a right file."""

    rows: ReadRows
    count: CountRows
    held: Hold | None = None
    usual: Verify = Verify.FULL
    show: Show | None = None
    part: Callable[[int], Reader] | None = None
    exact: tuple[ReadRows, CountRows] | None = None
