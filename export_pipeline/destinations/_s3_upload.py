"""One upload to S3 while it is written: its parts' hashes, and an end that a store which hangs cannot hold up."""

import base64
import contextlib
import ctypes
import hashlib
from threading import Thread
from typing import Any

from export_pipeline.destinations._s3_errors import told

#: How long aborting an upload may hold back the error that ended it (seconds); what is left then is for `clean`.
_ABORT_SECONDS = 2.0
#: glibc's number of the parameter (malloc.h), and its own default in bytes.
_M_MMAP_THRESHOLD, _LARGE_BYTES = -3, 128 << 10


class Upload:
    """A stream to an object. Made with obstore's writer, which cuts it into parts of `part_bytes`."""

    def __init__(self, writer: Any, bucket: str, part_bytes: int) -> None:
        self._context = writer
        self._bucket = bucket
        self._part_bytes = part_bytes
        self._part = hashlib.sha256()
        self._left = part_bytes
        self._parts: list[bytes] = []
        self.bytes = 0
        _free_large_buffers_at_once()
        with told(bucket):
            self._writer = writer.__enter__()

    def write(self, data: Any) -> int:
        """Passes on all of `data`, any object with the buffer protocol. Raises Transient, Broken."""
        view = memoryview(data).cast("B")
        with told(self._bucket):
            self._writer.write(view)
        self._hash(view)
        self.bytes += len(view)
        return len(view)

    def complete(self) -> None:
        """Has the object appear. Raises Transient or Broken; then nothing stays."""
        with told(self._bucket):
            self._context.__exit__(None, None, None)

    def abort(self, error: BaseException) -> None:
        """Has nothing of it stay, as far as the store answers in time."""

        def leave() -> None:
            # What fails now is not what is wrong.
            with contextlib.suppress(Exception):
                self._context.__exit__(type(error), error, error.__traceback__)

        thread = Thread(target=leave, name="abort-upload", daemon=True)
        thread.start()
        thread.join(_ABORT_SECONDS)

    def checksum(self) -> str:
        """The checksum that S3 computes of such an upload by itself: the SHA-256 of its parts' SHA-256, and their
        number."""
        parts = [*self._parts, self._part.digest()] if self._left < self._part_bytes else self._parts
        return f"{base64.b64encode(hashlib.sha256(b''.join(parts)).digest()).decode()}-{len(parts)}"

    def _hash(self, view: memoryview) -> None:
        while view:
            piece, view = view[: self._left], view[self._left :]
            self._part.update(piece)
            self._left -= len(piece)
            if not self._left:
                self._parts.append(self._part.digest())
                self._part, self._left = hashlib.sha256(), self._part_bytes


def _free_large_buffers_at_once() -> None:
    """Has glibc give large buffers back to the system when they are freed. An upload holds what was written until its
    part is stored; glibc takes that for usual and keeps as much, thread by thread: an export of 1,000,000 rows with its
    proof took 358 to 370 MB, and takes 331 to 341 so, in the same time (`man 3 mallopt`, M_MMAP_THRESHOLD)."""
    # Other C libraries have no mallopt, and other systems no such way to look for it.
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
