"""Files, from a stream of rows to finished objects at the destination: counted, hashed, and whole or not at all.

One file, or as many as the options' limits ask for; each has what its rows add up to, for the proof.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.compress import compressed, compression_of
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.extract import Rows
from export_pipeline.flow.plan import Plan
from export_pipeline.flow.proof import Proof
from export_pipeline.model.destination import Destination
from export_pipeline.model.errors import Broken
from export_pipeline.model.format import Compression, FileContext, Options, TextOptions
from export_pipeline.model.job import ExportFile
from export_pipeline.model.verification import Certificate, Verify

if TYPE_CHECKING:
    import polars as pl

#: A guess at a row's size for the choice of an upload's part size; too small a guess only fails past 78 GB.
_BYTES_PER_ROW = 400
#: How many bytes rows take in a file for each byte that their batches take when written by themselves, where they are
#: compressed: until a first file tells. Measured: 0.89 (Parquet, small batches) to 1.06 (CSV as zstd, small batches).
_FIRST_RATIO = 1.1
#: A file may be so much larger for its batches than the one before it.
_CAUTION = 1.03
#: How often the place to cut the last batch of a compressed file is sought: measuring takes time.
_CUTS = 3
#: What measuring batches one by one does not see of each (bytes): JSON's comma before its first row.
_BETWEEN = 1


class CountingWriter(io.RawIOBase):
    """Passes bytes on to `target` and keeps their number and SHA-256; a stopped attempt's next write fails."""

    def __init__(self, target: BinaryIO, attempt: Attempt) -> None:
        self._target = target
        self._attempt = attempt
        self._hash = hashlib.sha256()
        self._before = attempt.bytes_done
        self.bytes = 0

    def writable(self) -> bool:
        """Always: it is for writing."""
        return True

    def write(self, data: object) -> int:
        """Writes all of `data`, any object with the buffer protocol. Raises Cancelled, or what the target raises."""
        self._attempt.check()
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        self._hash.update(view)
        self._target.write(view)
        self.bytes += len(view)
        self._attempt.bytes_done = self._before + self.bytes
        return len(view)

    @property
    def sha256(self) -> str:
        """Of all bytes so far, in hexadecimal."""
        return self._hash.hexdigest()


def write_files(
    rows: Rows, plan: Plan, context: FileContext, attempt: Attempt, *, destination: Destination, key: str
) -> tuple[ExportFile, ...]:
    """Writes the rows to the key, or, where the options set limits, to as many keys as they need, numbered before the
    extension. Raises Broken where a row that was read was not written."""
    options = plan.options
    split = options.max_file_rows is not None or options.max_file_bytes is not None
    exact = isinstance(options, TextOptions) and compression_of(options) is Compression.NONE
    remaining = _Remaining(rows.batches, options, _measure_of(rows, plan, context), exact=exact)
    files: list[ExportFile] = []
    while not files or remaining.any():
        name = numbered(key, len(files) + 1) if split else key
        with destination.open(
            name,
            media_type=plan.media_type,
            filename=name.rpartition("/")[2],
            estimated_bytes=rows.estimated * _BYTES_PER_ROW,
        ) as target:
            writer = CountingWriter(target, attempt)
            part = replace(context, part=len(files) + 1) if split else context
            written, certificate = write_rows(writer, rows.schema, remaining.file(), plan, part)
            attempt.check()
        remaining.learn(writer.bytes)
        files.append(
            ExportFile(
                key=name,
                url=destination.address(name),
                bytes=writer.bytes,
                sha256=writer.sha256,
                rows=written,
                media_type=plan.media_type,
                certificate=certificate,
                masked=plan.selection.masked,
            )
        )
    check_all_written(attempt, sum(file.rows for file in files))
    return tuple(files)


def write_rows(
    writer: CountingWriter, schema: pl.Schema, batches: Iterator[pl.DataFrame], plan: Plan, context: FileContext
) -> tuple[int, Certificate | None]:
    """Writes the batches as one file of the plan's format. Returns how many rows it has, and what they add up to where
    that was asked for."""
    assert plan.format.write is not None
    proof = proof_of(plan)
    with compressed(cast(BinaryIO, writer), plan.options) as plain:
        written = plan.format.write(frame_of(schema, batches, proof), plain, context, plan.options)
    return written, proof.certificate() if proof is not None else None


def check_all_written(attempt: Attempt, written: int) -> None:
    """Raises Broken where a row that the attempt has read was not written."""
    if written != attempt.rows_done:
        raise Broken(f"{attempt.rows_done:,} rows were read and {written:,} written; nothing was delivered")


def context_of(engine: Engine, export_id: str, plan: Plan, snapshot_at: datetime) -> FileContext:
    """What a file of the plan's may say about itself."""
    dataset = plan.selection.dataset
    return FileContext(
        export_id=export_id,
        dataset=dataset.declared_name,
        title=dataset.title,
        columns=plan.columns,
        snapshot_at=snapshot_at,
        filters=plan.summary,
        report=dataset.report.within(_called(plan)),
        branding=engine.settings.branding_directory,
    )


def _called(plan: Plan) -> dict[str, str]:
    """What the file calls the dataset's columns; of one that is in it twice, the first. Figures and charts are of no
    column that is computed, nor of what a mask left of one."""
    whole = [column for column in reversed(plan.columns) if column.name not in plan.selection.masked]
    return {column.source_name: column.name for column in whole if not column.computed}


def numbered(key: str, number: int) -> str:
    """The key of a part: its number stands before the extension."""
    folder, slash, name = key.rpartition("/")
    stem, point, extension = name.partition(".")
    return f"{folder}{slash}{stem}_part-{number:05}{point}{extension}"


def proof_of(plan: Plan) -> Proof | None:
    """What will add up the rows of a file of the plan's, where that was asked for."""
    reader = plan.format.reader
    if plan.extent is Verify.OFF or reader is None:
        return None
    held = reader.held
    return Proof(
        plan.columns, plan.extent, (lambda batch: held(batch, plan.columns, plan.options)) if held is not None else None
    )


def frame_of(schema: pl.Schema, batches: Iterator[pl.DataFrame], proof: Proof | None) -> pl.LazyFrame:
    """The batches as a lazy frame, which can be read once, and is added up then."""
    from polars.io.plugins import register_io_source

    def read(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        for batch in batches:
            if proof is not None:
                proof.add(batch)
            yield batch if with_columns is None else batch.select(with_columns)

    return register_io_source(io_source=read, schema=schema)


class _Remaining:
    """The rows that are still to be written, dealt out file by file. `measure` tells how many bytes a batch takes in a
    file; `exact`, that batches take as many together as by themselves."""

    def __init__(
        self,
        batches: Iterator[pl.DataFrame],
        options: Options,
        measure: Callable[[pl.DataFrame | None], int],
        *,
        exact: bool,
    ) -> None:
        self._batches = batches
        self._rest: pl.DataFrame | None = None
        self._max_rows = options.max_file_rows
        self._max_bytes = options.max_file_bytes
        self._measure = measure
        self._exact = exact
        self._ratio = 1.0 if exact else _FIRST_RATIO
        self._measured = 0

    def any(self) -> bool:
        """Whether there are rows left. Raises what reading them raises."""
        if self._rest is None:
            self._rest = self._next()
        return self._rest is not None

    def file(self) -> Iterator[pl.DataFrame]:
        """The rows of the next file."""
        rows = 0
        self._measured = self._measure(None) if self._max_bytes is not None else 0
        while self.any():
            assert self._rest is not None
            batch = self._rest
            room = batch.height if self._max_rows is None else min(batch.height, self._max_rows - rows)
            if self._max_bytes is not None:
                room, size = self._fitting(batch, room)
                self._measured += size + _BETWEEN
            # A row that is longer than a file may be has one of its own.
            room = max(room, 0 if rows else 1)
            if room <= 0:
                return
            self._rest = batch.slice(room) if room < batch.height else None
            rows += room
            yield batch.head(room)

    def learn(self, bytes_written: int) -> None:
        """Takes a finished file's size for a measure of the next."""
        if self._measured and not self._exact:
            # Less than by themselves is luck, which the next file need not have.
            self._ratio = _CAUTION * max(1.0, bytes_written / self._measured)

    def _fitting(self, batch: pl.DataFrame, most: int) -> tuple[int, int]:
        """How many of the batch's first rows the file still has room for, and how many bytes they take by
        themselves."""
        assert self._max_bytes is not None
        left = int(self._max_bytes / self._ratio) - self._measured - _BETWEEN
        size = self._measure(batch.head(most))
        if size <= left:
            return most, size
        fits, found, too_many, tries = 0, 0, most, 0
        while too_many - fits > 1 and (self._exact or tries < _CUTS or not fits):
            # Halving finds the last row that fits; a rule of three is nearly there at once.
            share = 0.5 if self._exact else 0.98 * (left - found) / (size - found)
            middle = min(max(fits + int(share * (too_many - fits)), fits + 1), too_many - 1)
            taken = self._measure(batch.head(middle))
            if taken <= left:
                fits, found = middle, taken
            else:
                too_many, size = middle, taken
            tries += 1
        return fits, found

    def _next(self) -> pl.DataFrame | None:
        for batch in self._batches:
            if batch.height:
                return batch
        return None


def _measure_of(rows: Rows, plan: Plan, context: FileContext) -> Callable[[pl.DataFrame | None], int]:
    """Tells how many bytes a batch takes in a file, by writing it, or, of None, those of a file without rows."""
    form, options = plan.format, plan.options

    def written(batches: list[pl.DataFrame]) -> int:
        assert form.write is not None
        target = _Measuring()
        with compressed(cast(BinaryIO, target), options) as plain:
            form.write(frame_of(rows.schema, iter(batches), None), plain, context, options)
        return target.bytes

    empty = cache(lambda: written([]))
    return lambda batch: empty() if batch is None else written([batch]) - empty()


class _Measuring:
    """A target that only counts."""

    bytes = 0

    def write(self, data: Any) -> int:
        """Counts the bytes."""
        self.bytes += memoryview(data).nbytes
        return memoryview(data).nbytes
