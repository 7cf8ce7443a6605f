"""Objects of a store as files that can be read anywhere, each read one request for just that range.

obstore has such files too; they return at most a mebibyte from one read, and engines take less than that as the end.
"""

import io
from typing import Any

from obstore.fsspec import FsspecStore  # noqa: TID253 — this module is only loaded where it is used


class RangeFileSystem(FsspecStore):  # type: ignore[misc]
    """obstore's filesystem, with files that give all that is asked of them."""

    def _open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> "RangeFile":
        if mode != "rb":
            raise ValueError(f"files are only read here, not opened as {mode}")
        bucket, key = self._split_path(path)
        return RangeFile(self._construct_store(bucket), key)


class RangeFile(io.RawIOBase):
    """One object, read by ranges."""

    mode = "rb"

    def __init__(self, store: Any, key: str) -> None:
        self._store = store
        self._key = key
        self.size: int = store.head(key)["size"]
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to the offset."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer, unless the object ends before."""
        length = min(len(buffer), self.size - self._position)
        if length <= 0:
            return 0
        buffer[:length] = memoryview(self._store.get_range(self._key, start=self._position, length=length))
        self._position += length
        return length
