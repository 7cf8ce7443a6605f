"""Folders for rows that must wait on this machine for a moment: private, and gone with the process that made them.

All of a user's lie in one folder. A process holds a lock on each of its own, which the system lets go when the process
ends, however that happens: one without a lock was left by a process that was killed.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import gettempdir, mkdtemp

_PREFIX = "export-rows-"
#: How long a library that failed may take to let go of its file.
_REMOVING_SECONDS = 5.0
#: How often to begin anew when others remove at that moment what has just been made.
_TRIES = 10


@contextmanager
def staging_folder() -> Iterator[Path]:
    """A folder for rows, which goes with all that is in it, also where this thread is given up and Python ends. A sink
    whose source failed may still be opening its file in a thread of its own: it is waited for. Raises OSError."""
    folder, lock = _new_folder()
    at_exit = partial(_remove, folder, ignore_errors=True)
    atexit.register(at_exit)
    try:
        yield folder
    finally:
        atexit.unregister(at_exit)
        until = time.monotonic() + _REMOVING_SECONDS
        try:
            while folder.exists():
                _remove(folder, ignore_errors=time.monotonic() < until)
        finally:
            if lock is not None:
                os.close(lock)


def remove_abandoned(*, dry_run: bool = False) -> list[str]:
    """Removes the folders of this user's that no process holds any more; with `dry_run` none. Returns their paths. One
    that cannot be removed is left to the next time."""
    parent = _parent()
    try:
        folders = sorted(parent.iterdir()) if _is_ours(parent) else []
    except FileNotFoundError:
        return []
    removed = []
    for folder in folders:
        with suppress(OSError):
            lock = _lock(folder)
            try:
                if not dry_run:
                    _remove(folder, ignore_errors=False)
            finally:
                os.close(lock)
            removed.append(str(folder))
    return removed


def _new_folder() -> tuple[Path, int | None]:
    """A new folder, and the descriptor that holds its lock; None where there can be none: the parent is somebody
    else's, or the file system knows no locks."""
    for _ in range(_TRIES):
        with suppress(OSError):
            return _new_locked_folder()
    return Path(mkdtemp(dir=mkdtemp(prefix=_PREFIX))), None


def _new_locked_folder() -> tuple[Path, int]:
    parent = _parent()
    with suppress(FileExistsError):
        parent.mkdir(mode=0o700)
    if not _is_ours(parent):
        raise PermissionError(f"{parent} is not only ours")
    folder = Path(mkdtemp(dir=parent))
    try:
        return folder, _lock(folder)
    except OSError:
        with suppress(OSError):
            folder.rmdir()
        raise


def _parent() -> Path:
    return Path(gettempdir(), f"{_PREFIX}{os.geteuid()}")


def _is_ours(parent: Path) -> bool:
    """Whether nobody else can look into it. Raises FileNotFoundError."""
    found = parent.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077


def _lock(folder: Path) -> int:
    """The descriptor that holds the folder's lock; no process that is started inherits it. Raises OSError where
    somebody else holds it, or held it just now and has removed the folder."""
    # On the folder itself: a file in it would come later, and systemd-tmpfiles spares old folders that have one.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder.lstat()
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove(folder: Path, *, ignore_errors: bool) -> None:
    """Removes the folder, and the one around it if it was the last. Raises OSError."""
    shutil.rmtree(folder, ignore_errors=ignore_errors)
    with suppress(OSError):
        folder.parent.rmdir()
