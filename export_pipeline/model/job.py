"""An export: what was asked for, where it stands, and which moves are allowed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from export_pipeline.model.verification import Certificate, Verification, Verify

_PLAIN_NAME = re.compile(r"^\w+$")


class Status(StrEnum):
    """Where an export stands."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


#: The only allowed moves; the database enforces the same table (a test compares the two).
#: processing → pending is a further attempt; failed or cancelled → pending is a retry that somebody asked for.
TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.PROCESSING, Status.CANCELLED, Status.FAILED}),
    Status.PROCESSING: frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.PENDING}),
    Status.COMPLETED: frozenset({Status.EXPIRED}),
    Status.FAILED: frozenset({Status.PENDING}),
    Status.CANCELLED: frozenset({Status.PENDING}),
    Status.EXPIRED: frozenset(),
}


class Phase(StrEnum):
    """What an export that is processing is busy with, in this order."""

    PLANNING = "planning"
    WRITING = "writing"
    VERIFYING = "verifying"
    PUBLISHING = "publishing"


@dataclass(frozen=True)
class ExportRequest:
    """What somebody asks for, before it is checked. Values are text as they came in through a door.

    `conditions` are further predicates over columns, of which all hold; `sort` are columns, each perhaps with `desc`.
    With `truncate` an export with more rows than are allowed is cut instead of refused. Without `contact_info` no
    personal column leaves; `masks` names for a column a stricter policy than the role's, `recipient` whom keyed hashes
    are for. `reason` says why the data is needed. `since` is `last` for what is new or changed since the last such
    export, `start` to begin such a series anew with all rows. `verify` is how much of the files is read back, where
    that is not left to the format.
    """

    dataset: str
    requested_by: str
    filters: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    sort: tuple[str, ...] = ()
    truncate: bool = False
    contact_info: bool = True
    masks: Mapping[str, str] = field(default_factory=dict)
    recipient: str = ""
    reason: str = ""
    since: str = ""
    template_id: str | None = None
    format: str = "csv"
    options: Mapping[str, str] = field(default_factory=dict)
    destination: str = "s3"
    not_before: datetime | None = None
    recurring: bool = False
    verify: Verify | None = None

    @property
    def label(self) -> str:
        """What folders and assets are called after: the dataset's or the ready-made package's name; for a list of
        datasets `package`."""
        return self.dataset if _PLAIN_NAME.match(self.dataset) else "package"


@dataclass(frozen=True)
class ExportFile:
    """One delivered file. `members` are the files in it, whose keys are their names there; the bytes and hash of one
    are those of its contents. `masked` are the policies of columns that are not what they are in the source. A list of
    deletions has no rows: it has so many `deletions`, which other files have not."""

    key: str
    url: str
    bytes: int
    sha256: str
    rows: int
    media_type: str
    certificate: Certificate | None = None
    masked: Mapping[str, str] = field(default_factory=dict)
    members: tuple["ExportFile", ...] = ()
    deletions: int | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The file that was written down as JSON by `asdict`."""
        certificate = document.get("certificate")
        parts = {
            "certificate": Certificate(**certificate) if certificate else None,
            "members": tuple(cls.of(member) for member in document.get("members", ())),
        }
        return cls(**(dict(document) | parts))


@dataclass(frozen=True)
class ExportJob:
    """One row of `exports.export_jobs`."""

    id: str
    request: ExportRequest
    status: Status
    attempt: int
    created_at: datetime
    requester_id: str
    owner_id: str | None = None
    phase: Phase | None = None
    rows_done: int = 0
    rows_estimated: int | None = None
    bytes: int | None = None
    files: tuple[ExportFile, ...] = ()
    verification: Verification | None = None
    truncated: bool = False
    snapshot_at: datetime | None = None
    heartbeat_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    dagster_run_id: str | None = None
    error: str | None = None
    error_kind: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    expires_at: datetime | None = None

    @property
    def rows(self) -> int | None:
        """Rows delivered; None until there are files."""
        return sum(file.rows for file in self.files) if self.files else None

    @property
    def masked(self) -> Mapping[str, str]:
        """The policies of columns that are not what they are in the source; of a package with the file's name before
        the column's."""
        found = dict(self.files[0].masked) if self.files else {}
        members = self.files[0].members if self.files else ()
        return found | {f"{item.key}: {name}": policy for item in members for name, policy in item.masked.items()}


@dataclass(frozen=True)
class Outcome:
    """What an attempt delivered; `truncated`: not all the rows that were asked for, as that was allowed."""

    files: tuple[ExportFile, ...]
    snapshot_at: datetime
    verification: Verification = Verification.OFF
    truncated: bool = False
