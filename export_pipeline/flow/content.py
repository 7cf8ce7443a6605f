"""What a finished file holds, for whoever reads it again: where it was delivered, or on this machine; unpacked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from export_pipeline.flow.compress import unpacked
from export_pipeline.model.destination import Destination
from export_pipeline.model.errors import ExportError, Unproven
from export_pipeline.model.format import Compression
from export_pipeline.model.job import ExportFile
from export_pipeline.model.verification import Content
from export_pipeline.staging import staging_folder

_CHUNK_BYTES = 1 << 20


class FileContent:
    """A file of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def chunks(self) -> Iterator[bytes | memoryview]:
        """See `Content.chunks`."""
        with self._path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    @contextmanager
    def file(self) -> Iterator[Path]:
        """See `Content.file`."""
        yield self._path


class StoredContent:
    """A delivered file, whose SHA-256 is compared as it passes. `check_wanted` raises where nobody wants it any more.
    Reading raises Unproven for other bytes than were delivered, and what the destination and `check_wanted` raise."""

    def __init__(self, destination: Destination, file: ExportFile, check_wanted: Callable[[], None]) -> None:
        self._destination = destination
        self._file = file
        self._check_wanted = check_wanted
        #: What the destination has raised.
        self.failure: ExportError | None = None
        self._right = False
        self._fetched: Path | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._open.close()

    def chunks(self) -> Iterator[bytes | memoryview]:
        """See `Content.chunks`."""
        found, size = hashlib.sha256(), 0
        for chunk in self._read():
            self._check_wanted()
            found.update(chunk)
            size += len(chunk)
            yield chunk
        compare_bytes(found.hexdigest(), size, self._file)
        self._right = True

    @contextmanager
    def file(self) -> Iterator[Path]:
        """See `Content.file`."""
        yield self._destination.path(self._file.key) or self._here()

    def check(self) -> None:
        """Reads all of it, unless that has been done."""
        if not self._right:
            for _ in self.chunks():
                pass

    def _read(self) -> Iterator[bytes | memoryview]:
        if self.failure is not None:
            raise self.failure
        try:
            yield from self._destination.read(self._file.key)
        except ExportError as error:
            self.failure = error
            raise

    def _here(self) -> Path:
        """The file, fetched once for all readings."""
        if self._fetched is None:
            folder = self._open.enter_context(staging_folder())
            path = folder / self._file.key.rpartition("/")[2]
            _write(self.chunks(), path)
            self._fetched = path
        return self._fetched


class UnpackedContent:
    """The content of a file that is compressed as a whole."""

    def __init__(self, packed: Content, compression: Compression) -> None:
        self._packed = packed
        self._compression = compression

    def chunks(self) -> Iterator[bytes | memoryview]:
        """See `Content.chunks`."""
        with self._packed.file() as path:
            yield from unpacked(path, self._compression)

    @contextmanager
    def file(self) -> Iterator[Path]:
        """See `Content.file`."""
        with staging_folder() as folder:
            path = folder / "file"
            _write(self.chunks(), path)
            yield path


def compare_bytes(sha256: str, size: int, file: ExportFile) -> None:
    """Raises Unproven unless so many bytes with that SHA-256 are those that were delivered."""
    if sha256 != file.sha256:
        raise Unproven(f"{file.key} is not the file that was delivered: its SHA-256 differs ({size:,} bytes)")
    if size != file.bytes:
        raise Unproven(f"{file.key} has {size:,} bytes, and the manifest says {file.bytes:,}")


def _write(chunks: Iterator[bytes | memoryview], path: Path) -> None:
    with path.open("wb") as target:
        for chunk in chunks:
            target.write(chunk)
