"""A folder on this machine, or one that is mounted here. Files are staged beside their final name and renamed."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from export_pipeline.destinations import _direct_file
from export_pipeline.destinations._direct_file import DirectFile
from export_pipeline.model.destination import DestinationType, Stored
from export_pipeline.model.errors import Broken, Rejected
from export_pipeline.settings import Settings

_PART = ".part"
#: What must stay free beside the file itself (bytes).
_SPARE_BYTES = 64 << 20
#: How often a folder is made that others take away.
_TRIES = 100
#: What changes when a file does: number, size, time of the last change.
_Identity = tuple[int, int, int]


class LocalFolder:
    """Everything below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        #: What was written here and not confirmed since, as the system knows it.
        self._written: dict[str, _Identity] = {}

    def check(self) -> None:
        """Creates the folder. Raises Broken where it cannot be written to."""
        with _told(self.root):
            _make_folders(self.root)
            if not os.access(self.root, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "Permission denied")

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
                descriptor = _created(staged)
            with _stored(descriptor, self.root) as file:
                yield cast(BinaryIO, file)
            with _told(self.root):
                staged.replace(target)
                _sync_folder(target.parent)
                self._written[key] = _identity(target.stat())
        except BaseException:
            # What fails now is not what is wrong.
            with contextlib.suppress(OSError):
                staged.unlink()
            self._remove_empty(target.parent)
            raise

    def stat(self, key: str) -> Stored | None:
        """See `Destination.stat`."""
        path = self._path(key)
        with _told(self.root):
            if not path.is_file():
                return None
            found = path.stat()
        return Stored(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def read(self, key: str) -> Iterator[bytes]:
        """See `Destination.read`."""
        with _told(self.root):
            yield from _direct_file.read(self._existing(key))

    def confirm(self, key: str, *, bytes: int, sha256: str) -> None:
        """See `Destination.confirm`. The disk had all of it when it was written: the first time after that the file is
        only read where it is another by now."""
        import hashlib

        path = self._existing(key)
        with _told(self.root), path.open("rb") as file:
            stored = os.fstat(file.fileno())
            size, found = stored.st_size, sha256
            if self._written.pop(key, None) != _identity(stored):
                found = hashlib.file_digest(file, "sha256").hexdigest()
        if size != bytes or found != sha256:
            raise Broken(
                f"the file in {self.root} is not what was written ({size:,} of {bytes:,} bytes, or other contents); "
                "check the disk"
            )

    def list(self, prefix: str) -> Iterator[Stored]:
        """See `Destination.list`."""
        folder = self._path(prefix) if prefix.strip("/") else self.root
        for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
            if path.suffix != _PART and (found := self.stat(path.relative_to(self.root).as_posix())) is not None:
                yield found

    def clean(self, prefix: str) -> int:
        """See `Destination.clean`. Folders that are empty then go too."""
        path = self._path(prefix)
        staged = path.with_name(path.name + _PART)
        with _told(self.root):
            gone = [item for item in (path, staged) if item.is_file()]
            for item in gone:
                item.unlink(missing_ok=True)
            if path.is_dir():
                gone += [item for item in path.rglob("*") if not item.is_dir()]
                shutil.rmtree(path)
        self._remove_empty(path.parent)
        return len(gone)

    def abort_stale_uploads(self, older_than: timedelta, *, dry_run: bool = False) -> Sequence[str]:
        """Removes staged files that a crash left."""
        before = (datetime.now(UTC) - older_than).timestamp()
        stale = []
        with _told(self.root):
            for path in self.root.rglob(f"*{_PART}") if self.root.is_dir() else []:
                # One that is gone by now was renamed by its own worker.
                with contextlib.suppress(FileNotFoundError):
                    if path.stat().st_mtime < before:
                        stale.append(path.relative_to(self.root).as_posix())
                        if not dry_run:
                            path.unlink()
        return stale

    def ensure_lifecycle(self, days: int) -> None:
        """A folder deletes nothing by itself."""

    def filesystem(self) -> Any:
        """See `Destination.filesystem`."""
        from fsspec.implementations.dirfs import DirFileSystem

        return DirFileSystem(str(self.root))

    def path(self, key: str) -> Path:
        """See `Destination.path`."""
        return self._existing(key)

    def address(self, key: str) -> str:
        """See `Destination.address`."""
        return self._path(key).as_uri()

    def link(self, key: str, *, ttl_seconds: int, filename: str) -> str:
        """The file's address. A folder cannot make it expire: the file itself does, with its export."""
        return self.address(key)

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        if not parts or key.startswith("/") or ".." in parts:
            raise Broken(f"the key {key!r} names nothing in the folder; keys are relative and have no '..'")
        path = self.root.joinpath(*parts)
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise Broken(f"the key {key!r} leads out of the folder by a link; remove the link")
        return path

    def _existing(self, key: str) -> Path:
        path = self._path(key)
        if not path.is_file():
            raise Broken(f"the file is not, or no longer, in {self.root}")
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


class _Writer:
    """Tells the disk's errors from everybody else's while a file is being written."""

    def __init__(self, file: DirectFile, root: Path) -> None:
        self._file = file
        self._root = root

    def write(self, data: Any) -> int:
        """Writes all of `data`, any object with the buffer protocol. Raises Broken."""
        with _told(self._root):
            return self._file.write(data)


@contextmanager
def _stored(descriptor: int, root: Path) -> Iterator[_Writer]:
    """Writes to the new file, which the disk has for good when the context ends, and closes it. Raises Broken."""
    try:
        with DirectFile(descriptor) as file:
            yield _Writer(file, root)
            with _told(root):
                file.end()
                os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _identity(found: os.stat_result) -> _Identity:
    return found.st_ino, found.st_size, found.st_mtime_ns


@contextmanager
def _told(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Broken(f"{root} is full; free some space or set EXPORT_DIRECTORY to another folder") from error
        raise Broken(f"{root} cannot be used: {error.strerror or error}; check EXPORT_DIRECTORY") from error


def _make_folders(folder: Path) -> None:
    """Ours alone, those in between too, which `mkdir(parents=True)` would open to everybody."""
    for path in (*reversed(folder.parents), folder):
        if not path.is_dir():
            path.mkdir(mode=0o700, exist_ok=True)


def _created(path: Path) -> int:
    """The new file, opened for writing, in a folder that is made where it is missing."""
    for tries_left in reversed(range(_TRIES)):
        try:
            _make_folders(path.parent)
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            # Whoever cleaned up beside it took the folder, which was still empty.
            if not tries_left:
                raise
    raise AssertionError


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
