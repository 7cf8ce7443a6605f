"""A folder on this machine, or one that is mounted here. Files are staged beside their final name and renamed."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from export_pipeline.model.destination import DestinationType, Stored
from export_pipeline.model.errors import Broken, Rejected
from export_pipeline.settings import Settings

_PART = ".part"
_CHUNK = 1 << 20
#: What must stay free beside the file itself (bytes).
_SPARE_BYTES = 64 << 20


class LocalFolder:
    """Everything below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def check(self) -> None:
        """Creates the folder. Raises Broken where it cannot be written to."""
        with _told(self.root):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self.root, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")

    @contextmanager
    def open(self, key: str, *, media_type: str, filename: str, estimated_bytes: int = 0) -> Iterator[BinaryIO]:
        """See `Destination.open`. Raises Broken where the folder cannot be written to or has too little space."""
        self.check()
        free = shutil.disk_usage(self.root).free
        if estimated_bytes + _SPARE_BYTES > free:
            raise Broken(
                f"{self.root} has {free:,} bytes free, and the file may need {estimated_bytes:,}; free some space or "
                "set EXPORT_DIRECTORY to another folder"
            )
        target = self._path(key)
        staged = target.with_name(target.name + _PART)
        try:
            with _told(self.root):
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with open(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                staged.replace(target)
                _sync_folder(target.parent)
        except BaseException:
            staged.unlink(missing_ok=True)
            self._remove_empty(target.parent)
            raise

    def stat(self, key: str) -> Stored | None:
        """See `Destination.stat`."""
        try:
            found = self._path(key).stat()
        except FileNotFoundError:
            return None
        return Stored(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def read(self, key: str) -> Iterator[bytes]:
        """See `Destination.read`."""
        with _told(self.root), self._path(key).open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def confirm(self, key: str, *, bytes: int, sha256: str) -> None:
        """See `Destination.confirm`: the file is on this disk; it is read again."""
        import hashlib

        with _told(self.root), self._path(key).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise Broken(f"the file that was written to {self.root} is not what is there now; check the disk")

    def list(self, prefix: str) -> Iterator[Stored]:
        """See `Destination.list`."""
        for path in sorted(self._path(prefix).rglob("*")) if self._path(prefix).is_dir() else []:
            if path.is_file() and path.suffix != _PART:
                found = self.stat(path.relative_to(self.root).as_posix())
                if found is not None:
                    yield found

    def clean(self, prefix: str) -> int:
        """See `Destination.clean`."""
        folder = self._path(prefix)
        if folder == self.root or not folder.is_dir():
            return 0
        count = sum(1 for path in folder.rglob("*") if path.is_file())
        with _told(self.root):
            shutil.rmtree(folder)
        self._remove_empty(folder.parent)
        return count

    def abort_stale_uploads(self, older_than: timedelta, *, dry_run: bool = False) -> Sequence[str]:
        """Removes staged files that a crash left."""
        before = (datetime.now(UTC) - older_than).timestamp()
        stale = []
        for path in self.root.rglob(f"*{_PART}") if self.root.is_dir() else []:
            if path.stat().st_mtime < before:
                stale.append(path.relative_to(self.root).as_posix())
                if not dry_run:
                    path.unlink(missing_ok=True)
        return stale

    def ensure_lifecycle(self, days: int) -> None:
        """A folder deletes nothing by itself."""

    def filesystem(self) -> Any:
        """See `Destination.filesystem`."""
        from fsspec.implementations.dirfs import DirFileSystem

        return DirFileSystem(str(self.root))

    def address(self, key: str) -> str:
        """See `Destination.address`."""
        return self._path(key).as_uri()

    def link(self, key: str, *, ttl_seconds: int, filename: str) -> str:
        """The file's address. A folder cannot make it expire: the file itself does, with its export."""
        return self.address(key)

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        if not parts or key.startswith("/") or ".." in parts:
            raise Broken(f"the key {key!r} would leave the folder")
        path = self.root.joinpath(*parts)
        if not path.parent.resolve().is_relative_to(self.root.resolve()):
            raise Broken(f"the key {key!r} leads out of the folder by a link")
        return path

    def _remove_empty(self, folder: Path) -> None:
        while folder != self.root and folder.is_relative_to(self.root):
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent


def connect(settings: Settings) -> LocalFolder:
    """The folder in EXPORT_DIRECTORY. Raises Rejected where it is not set."""
    if settings.export_directory is None:
        raise Rejected("the destination local needs a folder: set EXPORT_DIRECTORY")
    return LocalFolder(settings.export_directory)


DESTINATION = DestinationType(
    name="local",
    title="Folder",
    description="A folder on this machine (EXPORT_DIRECTORY); files are staged and renamed.",
    connect=connect,
)


@contextmanager
def _told(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Broken(f"{root} cannot be used: {error.strerror or error}; check EXPORT_DIRECTORY") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
