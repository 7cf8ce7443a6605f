"""What a format declares that holds several files."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol


class Archive(Protocol):
    """An archive that is being written."""

    def file(self, name: str, *, compress: bool) -> AbstractContextManager[BinaryIO]:
        """A stream to write the file of that name to; the one before must have ended. `compress`: whether it gains."""


@dataclass(frozen=True)
class Archiver:
    """How archives are made and read: `create` from the target (not seekable), the format's options, the password if
    there is one, and the time of its files; `extract` unpacks the file of a name into another, and raises Broken, or
    Rejected for a wrong password."""

    create: Callable[[BinaryIO, Any, bytes | None, datetime], AbstractContextManager[Archive]]
    extract: Callable[[Path, str, Path, bytes | None], None]
