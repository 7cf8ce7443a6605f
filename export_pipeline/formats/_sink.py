"""What the formats share: rows counted on their way into a Polars sink or staged in a file, and targets whose errors
are not lost in there.

No file format here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from export_pipeline.formats._blocks import Blocks
from export_pipeline.model.errors import Broken, Rejected

if TYPE_CHECKING:
    import polars as pl

#: A column for rows' numbers: no dataset's column may be called so.
_ROW = "\0row"
#: So much is read back at once: the source's own batches would take tens of megabytes each.
_STAGED_ROWS = 10_000
_STAGED_BYTES = 4 << 20


class RowCount:
    """Counts the rows that pass through a frame."""

    def __init__(self) -> None:
        # A list, since a sink's threads may report at the same time, and += could lose one.
        self._heights: list[int] = []

    def put_into(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The same frame, counted."""
        return frame.map_batches(self._see, streamable=True)

    def _see(self, batch: pl.DataFrame) -> pl.DataFrame:
        self._heights.append(batch.height)
        return batch

    @property
    def rows(self) -> int:
        """How many have passed."""
        return sum(self._heights)


class SinkTarget:
    """Stands between a Polars sink, which only sees `write` and `flush`, and the target.

    A sink dresses up whatever a target raises as an error of its own; the original is kept here. After an error, and
    after the sink's end, no late thread reaches the target.
    """

    def __init__(self, target: BinaryIO) -> None:
        self._target: BinaryIO | None = target
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        """Hands `data` to the target. Raises whatever the target raises."""
        if self._target is None:
            raise OSError("the file has already ended")
        try:
            self._target.write(data)
        except BaseException as error:
            self.close()
            self.error = error
            raise
        return len(data)

    def flush(self) -> None:
        """Nothing to do: whoever opened the target ends it."""

    def close(self) -> None:
        """Lets go of the target, without closing it."""
        self._target = None


def refusing(frame: pl.LazyFrame, findings: Mapping[str, pl.Expr], refusal: Callable[[int, str], str]) -> pl.LazyFrame:
    """The frame, which raises Rejected at the first batch in which a finding (by column) is true, with what `refusal`
    says of the row's number, from 1, and the column."""

    def check(batch: pl.DataFrame) -> pl.DataFrame:
        found = batch.select(wrong.fill_null(False).alias(name) for name, wrong in findings.items())
        for name in findings:
            if found[name].any():
                raise Rejected(refusal(batch[_ROW][found[name].arg_max() or 0] + 1, name))
        return batch

    # Batches may come out of order: each brings the numbers of its rows.
    return frame.with_row_index(_ROW).map_batches(check, streamable=True).drop(_ROW)


class Staged(NamedTuple):
    """How many rows were staged, and how many bytes they have in memory."""

    rows: int
    bytes: int


def stage(frame: pl.LazyFrame, path: Path) -> Staged:
    """Writes the frame to an Arrow file, for a format that must see the rows more than once. The caller removes the
    file, whatever happens."""
    import polars as pl
    import pyarrow as pa

    def table(rows: pl.DataFrame) -> pa.Table:
        return rows.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())

    blocks, staged = Blocks(_STAGED_ROWS, _STAGED_BYTES), Staged(0, 0)
    schema = table(pl.DataFrame(schema=frame.collect_schema())).schema
    with surfacing(), pa.ipc.new_file(str(path), schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as file:

        def write(complete: Iterable[pl.DataFrame]) -> None:
            nonlocal staged
            for rows in complete:
                block = table(rows)
                file.write_table(block)
                staged = Staged(staged.rows + rows.height, staged.bytes + block.nbytes)

        frame.sink_batches(lambda batch: write(blocks.put(batch)), maintain_order=True, engine="streaming")
        write(blocks.rest())
    return staged


@contextmanager
def surfacing(sink: SinkTarget | None = None) -> Iterator[None]:
    """Around a run of Polars: the target's own error comes out as itself, and a panic, which is a BaseException that no
    `except Exception` would see, as Broken. What the frame's source raises passes as it is."""
    import polars as pl

    try:
        yield
    except BaseException as error:
        if sink is not None and sink.error is not None and not isinstance(error, KeyboardInterrupt):
            raise sink.error from None
        if isinstance(error, pl.exceptions.PanicException):
            # Its text may hold a value out of the rows.
            raise Broken("the file could not be written: the writer gave up; see the log of the run") from error
        raise
    finally:
        if sink is not None:
            sink.close()
    if sink is not None and sink.error is not None:
        raise sink.error
