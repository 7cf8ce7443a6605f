"""Files that are written and read past the page cache, where the system can.

A large export then does not push what others read out of memory, and takes less processor time: copying 335 MB into
the cache took 1.0 core-seconds where memory is handed out by a hypervisor, writing past it 0.1 (docs/performance.md).
"""

import contextlib
import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

#: Bytes that go to the disk at once, from memory that is aligned as it wants it. Two of these are held.
_BLOCK_BYTES = 4 << 20
#: Bytes that are read at once.
_CHUNK_BYTES = 1 << 20
#: Not every system has it.
_DIRECT = getattr(os, "O_DIRECT", 0)


class DirectFile:
    """A new file's descriptor as a file that is written past the page cache; the caller ends and closes it. Every
    method raises OSError."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._thread = ThreadPoolExecutor(1, "disk")
        self._block, self._stored_block = mmap.mmap(-1, _BLOCK_BYTES), mmap.mmap(-1, _BLOCK_BYTES)
        self._filled = 0
        self._storing: Future[None] | None = None
        _set_direct(descriptor, True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._thread.shutdown()

    def write(self, data: Any) -> int:
        """Takes all of `data`, any object with the buffer protocol."""
        left = memoryview(data).cast("B")
        size = len(left)
        while left:
            taken = left[: _BLOCK_BYTES - self._filled]
            self._block[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            left = left[len(taken) :]
            if self._filled == _BLOCK_BYTES:
                self._await()
                self._block, self._stored_block = self._stored_block, self._block
                self._filled = 0
                self._storing = self._thread.submit(_write, self._descriptor, memoryview(self._stored_block))
        return size

    def end(self) -> None:
        """Writes what is left, which fills no block."""
        self._await()
        _set_direct(self._descriptor, False)
        _write(self._descriptor, memoryview(self._block)[: self._filled])

    def _await(self) -> None:
        if self._storing is not None:
            self._storing.result()
        self._storing = None


def read(path: Path) -> Iterator[bytes]:
    """The file's bytes, in chunks. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _set_direct(descriptor, True)
        block = mmap.mmap(-1, _CHUNK_BYTES)
        while size := _read(descriptor, block):
            yield block[:size]
    finally:
        os.close(descriptor)


def _read(descriptor: int, block: mmap.mmap) -> int:
    try:
        size = os.readv(descriptor, [block])
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        size = 0
    if size < _CHUNK_BYTES:
        # What is left is no whole block, or the disk wants others.
        _set_direct(descriptor, False)
    return size or os.readv(descriptor, [block])


def _write(descriptor: int, data: memoryview) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except OSError as error:
            if error.errno != errno.EINVAL or not fcntl.fcntl(descriptor, fcntl.F_GETFL) & _DIRECT:
                raise
            # The disk wants other blocks.
            _set_direct(descriptor, False)


def _set_direct(descriptor: int, direct: bool) -> None:
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    # Not every file system has it.
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | _DIRECT if direct else flags & ~_DIRECT)
