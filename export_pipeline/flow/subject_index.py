"""The index of people in an export: a sorted file of keyed hashes beside its manifest, written with the files, and read
again to find those that hold somebody.

It holds the values of the columns that the dataset calls `subjects`, as they were before masking, so far as the columns
are in the file. It is no part of the delivery: no manifest names it, no link leads to it, and it goes with the export.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.subject_key import SubjectKey, names_of
from export_pipeline.model.dataset import Column, Dataset
from export_pipeline.model.destination import Destination

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Hashes = np.ndarray[Any, np.dtype[np.uint64]]

#: Its name beside the manifest.
INDEX = "index.bin"
#: What the file begins with, before the key's id (8 bytes); then come the hashes, 8 bytes each.
_MAGIC = b"export-1"
_HEADER_BYTES = len(_MAGIC) + 8
#: So many hashes are held in memory (8 bytes each); sorted runs beyond that wait in a temporary file.
_MOST_HELD = 1_500_000
_SPACE = 1 << 64


class SubjectIndex:
    """Gathers hashes while rows are read, and gives them back sorted. `most_held` bounds the memory."""

    def __init__(self, key: SubjectKey, *, most_held: int = _MOST_HELD) -> None:
        self._key = key
        self._most_held = most_held
        self._held: list[Hashes] = []
        self._count = 0
        self._file: Any = None
        self._runs: list[tuple[int, int]] = []
        self.complete = True

    def __call__(self, dataset: Dataset, columns: tuple[Column, ...], batch: pl.DataFrame) -> None:
        """Takes the people of a batch: see `Witness`."""
        named = {
            column.sql: dataset.subjects[column.name] for column in dataset.columns if column.name in dataset.subjects
        }
        # By what they are, not by what they are called in this file.
        for column in columns:
            if column.sql in named:
                self.add(self._key.hashes(names_of(batch[column.name], named[column.sql])))
            elif column.computed and dataset.subjects.keys() & set(column.of):
                # A person may be in there in any form: better no index than one that denies it.
                self.complete = False

    def add(self, hashes: Hashes) -> None:
        """Takes hashes."""
        self._held.append(hashes)
        self._count += len(hashes)
        if self._count < self._most_held:
            return
        run = self._sorted()
        if len(run) > self._most_held // 2:
            self._spill(run)
            run = run[:0]
        self._held, self._count = [run], len(run)

    def contents(self) -> Iterator[bytes]:
        """The file, in pieces."""
        import numpy as np

        yield _MAGIC + self._key.id
        runs = [
            *(np.memmap(self._file, np.uint64, "r", start * 8, (length,)) for start, length in self._runs),
            self._sorted(),
        ]
        pieces = max(1, -(-sum(map(len, runs)) // self._most_held))
        # Hashes are spread evenly: each piece of their range holds about as many.
        for piece in range(pieces):
            low, high = (_SPACE * bound // pieces for bound in (piece, piece + 1))
            parts = [run[_place(run, low) : _place(run, high)] for run in runs]
            yield _each_once(np.concatenate(parts)).astype(">u8").tobytes()

    def _sorted(self) -> Hashes:
        import numpy as np

        return _each_once(np.concatenate(self._held)) if self._held else np.empty(0, dtype=np.uint64)

    def _spill(self, run: Hashes) -> None:
        if self._file is None:
            self._file = TemporaryFile(prefix="export-")  # noqa: SIM115 — closed with the index, however the export ends
            weakref.finalize(self, self._file.close)
        start, length = self._runs[-1] if self._runs else (0, 0)
        run.tofile(self._file)
        self._file.flush()
        self._runs.append((start + length, len(run)))


@dataclass(frozen=True)
class Lookup:
    """What an index says: `readable` is whether it was made with one of our keys; then `found` is whether it holds
    somebody."""

    readable: bool
    found: bool = False


def open_index(engine: Engine, attempt: Attempt) -> SubjectIndex | None:
    """The index of an attempt's rows, which fills while they are read; None where none is kept."""
    if not engine.settings.subject_keys or not engine.settings.subject_index:
        return None
    index = SubjectIndex(SubjectKey(engine.settings.subject_keys[0]))
    attempt.witness = index
    return index


def publish_index(index: SubjectIndex | None, destination: Destination, prefix: str) -> None:
    """Writes the index beside the files, and makes sure that it is there."""
    if index is None or not index.complete:
        return
    written, size = hashlib.sha256(), 0
    with destination.open(prefix + INDEX, media_type="application/octet-stream", filename=INDEX) as target:
        for piece in index.contents():
            written.update(piece)
            size += len(piece)
            target.write(piece)
    destination.confirm(prefix + INDEX, bytes=size, sha256=written.hexdigest())


def look_up(destination: Destination, folder: str, wanted: Mapping[bytes, Sequence[int]]) -> Lookup:
    """Whether an export's index holds any of the hashes that are wanted of its key, by the keys' ids. Raises Transient,
    Broken."""
    import numpy as np

    if destination.stat(folder + INDEX) is None:
        return Lookup(readable=False)
    rest, hashes = b"", None
    for chunk in destination.read(folder + INDEX):
        data = rest + chunk
        if hashes is None:
            if len(data) < _HEADER_BYTES:
                rest = data
                continue
            hashes = wanted.get(data[len(_MAGIC) : _HEADER_BYTES])
            if not data.startswith(_MAGIC) or hashes is None:
                return Lookup(readable=False)
            data = data[_HEADER_BYTES:]
        whole = len(data) // 8 * 8
        rest = data[whole:]
        part = np.frombuffer(data[:whole], dtype=">u8").astype(np.uint64)
        for number in hashes:
            at = int(np.searchsorted(part, np.uint64(number)))
            if at < len(part) and int(part[at]) == number:
                return Lookup(readable=True, found=True)
        if len(part) and int(part[-1]) >= max(hashes):
            break
    return Lookup(readable=hashes is not None)


def _each_once(hashes: Hashes) -> Hashes:
    """Sorted, each once. `numpy.unique` fills a hash table first, and takes twenty times as long."""
    import numpy as np

    ordered = np.sort(hashes)
    new = np.empty(len(ordered), dtype=bool)
    new[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return ordered[new]


def _place(run: Hashes, bound: int) -> int:
    import numpy as np

    return len(run) if bound >= _SPACE else int(np.searchsorted(run, np.uint64(bound)))
