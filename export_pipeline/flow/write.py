"""One file, from a stream of rows to a finished object at the destination: counted, hashed, and whole or not at all."""

import hashlib
import io
from typing import BinaryIO, cast

from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.extract import Rows
from export_pipeline.flow.plan import Plan
from export_pipeline.model.destination import Destination
from export_pipeline.model.errors import Broken
from export_pipeline.model.format import FileContext
from export_pipeline.model.job import ExportFile

#: A guess at a row's size for the choice of an upload's part size; too small a guess only fails past 78 GB.
_BYTES_PER_ROW = 400


class CountingWriter(io.RawIOBase):
    """Passes bytes on to `target` and keeps their number and SHA-256; a stopped attempt's next write fails."""

    def __init__(self, target: BinaryIO, attempt: Attempt) -> None:
        self._target = target
        self._attempt = attempt
        self._hash = hashlib.sha256()
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
        self._attempt.bytes_done = self.bytes
        return len(view)

    @property
    def sha256(self) -> str:
        """Of all bytes so far, in hexadecimal."""
        return self._hash.hexdigest()


def write_file(
    rows: Rows, plan: Plan, context: FileContext, attempt: Attempt, *, destination: Destination, key: str
) -> ExportFile:
    """Writes the rows to the key. Raises Broken where a row that was read was not written."""
    with destination.open(
        key,
        media_type=plan.format.media_type,
        filename=key.rpartition("/")[2],
        estimated_bytes=rows.estimated * _BYTES_PER_ROW,
    ) as target:
        writer = CountingWriter(target, attempt)
        written = plan.format.write(rows.frame, cast(BinaryIO, writer), context, plan.options)
        attempt.check()
        if written != attempt.rows_done:
            raise Broken(f"{attempt.rows_done:,} rows were read and {written:,} written; nothing was delivered")
    return ExportFile(
        key=key,
        url=destination.address(key),
        bytes=writer.bytes,
        sha256=writer.sha256,
        rows=written,
        media_type=plan.format.media_type,
    )
