"""What a destination must be able to do. A file appears there under its final name whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Protocol


@dataclass(frozen=True)
class Stored:
    """An object as the destination reports it."""

    key: str
    bytes: int
    modified_at: datetime


class Destination(Protocol):
    """A place that files are delivered to. Keys are relative, with `/`, and start with the job's prefix.

    Every method raises `Transient` for what may pass (connection, 5xx, throttling), `Broken` for what needs somebody
    (credentials, missing bucket, permission), never a library's own error.
    """

    def check(self) -> None:
        """Raises, with advice, unless files can be written there now. Creates what may be created (a local folder)."""

    def open(
        self, key: str, *, media_type: str, filename: str, estimated_bytes: int = 0
    ) -> AbstractContextManager[BinaryIO]:
        """A stream to write the object to: left normally it appears whole, left by any exception (an interrupt too)
        nothing stays. `filename` is what a browser saves it as."""

    def stat(self, key: str) -> Stored | None:
        """What is stored under the key, or None."""

    def read(self, key: str) -> Iterator[bytes | memoryview]:
        """The object's bytes, in chunks."""

    def confirm(self, key: str, *, bytes: int, sha256: str) -> None:
        """Raises Broken unless the object is stored for good and has that size and SHA-256 (hexadecimal). It is read
        back, unless this is the first time after writing and the store has verified the contents itself, or is a disk
        of this machine, which has stored all that it was given, in a file that nobody has changed since."""

    def list(self, prefix: str) -> Iterator[Stored]:
        """All objects under the prefix."""

    def clean(self, prefix: str) -> int:
        """Deletes everything under the prefix, aborts unfinished uploads there too; returns how many things went."""

    def abort_stale_uploads(self, older_than: timedelta, *, dry_run: bool = False) -> Sequence[str]:
        """Aborts unfinished uploads of ours that are older; returns their keys."""

    def ensure_lifecycle(self, days: int) -> None:
        """Has the store itself delete our objects after so many days, where it can: the second guard."""

    def filesystem(self) -> Any:
        """An fsspec filesystem in which keys are paths, for engines that read files themselves."""

    def path(self, key: str) -> Path | None:
        """The object as a file of this machine, to be read only; None where it has to be fetched."""

    def address(self, key: str) -> str:
        """Where the object is, for people and tools: `s3://bucket/key`, `file:///…`. Not secret."""

    def link(self, key: str, *, ttl_seconds: int, filename: str) -> str:
        """An address that lets its holder download the object for `ttl_seconds`. Secret."""


@dataclass(frozen=True)
class DestinationType:
    """One kind of destination: `connect` makes it from the settings and raises `Rejected`, naming the setting, where
    one is missing."""

    name: str
    title: str
    description: str
    connect: Callable[[Any], Destination]
