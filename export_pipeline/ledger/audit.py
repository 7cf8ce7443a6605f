"""The audit log: who took out what, when and why. Entries are only added, in the transaction that makes them true."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg.types.json import Jsonb

from export_pipeline.ledger.database import Connection, Database
from export_pipeline.ledger.rows import job_of
from export_pipeline.model.errors import ErrorKind
from export_pipeline.model.job import ExportJob
from export_pipeline.model.verification import Verification


class Action(StrEnum):
    """What can be recorded."""

    REQUEST = "request"
    REFUSAL = "refusal"
    START = "start"
    COMPLETION = "completion"
    FAILURE = "failure"
    CANCEL = "cancel"
    RETRY = "retry"
    LINK = "link"
    EXPIRY = "expiry"
    TEMPLATE_CREATE = "template_create"
    TEMPLATE_EDIT = "template_edit"
    TEMPLATE_DELETE = "template_delete"
    PREVIEW = "preview"
    SEARCH = "search"
    ESTIMATE = "estimate"
    LINK_USED = "link_used"
    LINK_REVOKED = "link_revoked"
    LINK_REFUSED = "link_refused"


@dataclass(frozen=True)
class AuditEvent:
    """One entry. `detail` holds facts about the export, never a filter's value or a row."""

    action: Action
    actor: str
    export_id: str | None = None
    dataset: str | None = None
    reason: str = ""
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AuditEntry:
    """An entry as it was recorded."""

    id: int
    at: datetime
    event: AuditEvent


@dataclass(frozen=True)
class Failure:
    """An export that ended as failed, as it was recorded then: it may have been tried again since. `job` is its row as
    it is now; `unproven`: its file was read back and was not what was read from the source."""

    entry_id: int
    at: datetime
    job: ExportJob
    attempt: int
    message: str
    unproven: bool


def record(connection: Connection, event: AuditEvent) -> None:
    """Adds an entry in the caller's transaction."""
    connection.execute(
        """
        INSERT INTO exports.audit_log (actor, action, export_id, dataset, reason, detail)
        VALUES (%(actor)s, %(action)s, %(export_id)s, %(dataset)s, %(reason)s, %(detail)s)
        """,
        {
            "actor": event.actor,
            "action": event.action.value,
            "export_id": event.export_id,
            "dataset": event.dataset,
            "reason": event.reason,
            "detail": Jsonb(event.detail),
        },
    )


def event_of(job: ExportJob, action: Action, actor: str, reason: str = "", **detail: Any) -> AuditEvent:
    """An entry about a job."""
    return AuditEvent(action, actor, job.id, job.request.dataset, reason, {"attempt": job.attempt, **detail})


class AuditLog:
    """Entries that no change of a job goes with, and looking entries up."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def refuse(self, *, actor: str, dataset: str, reason: str, export_id: str | None = None) -> None:
        """Records that somebody was refused something."""
        self._append(AuditEvent(Action.REFUSAL, actor or "nobody", export_id, dataset, reason))

    def link(self, job: ExportJob, *, actor: str, expires_at: datetime) -> None:
        """Records that a link past our door was handed out: it is not recorded itself, and of its use nothing will be
        known."""
        self._append(event_of(job, Action.LINK, actor, expires_at=expires_at.isoformat()))

    def preview(self, *, actor: str, dataset: str, reason: str, detail: dict[str, Any]) -> None:
        """Records that somebody was shown rows."""
        self._append(AuditEvent(Action.PREVIEW, actor, None, dataset, reason, detail))

    def estimate(self, *, actor: str, dataset: str, reason: str, detail: dict[str, Any]) -> None:
        """Records that somebody was told how many rows there are."""
        self._append(AuditEvent(Action.ESTIMATE, actor, None, dataset, reason, detail))

    def search(self, *, actor: str, reason: str, detail: dict[str, Any]) -> None:
        """Records that somebody looked for the exports that hold a person. `detail` never names them."""
        self._append(AuditEvent(Action.SEARCH, actor, None, None, reason, detail))

    def of(self, export_id: str) -> list[AuditEntry]:
        """All entries about an export, oldest first."""
        rows = self._database.rows(
            "SELECT * FROM exports.audit_log WHERE export_id = %(id)s ORDER BY id", {"id": export_id}
        )
        return [_entry(row) for row in rows]

    def links_past_the_door(self, export_id: str) -> list[datetime]:
        """Until when what was presigned for an export works: one moment each time it was, of those to come, the last
        one last."""
        rows = self._database.rows(
            """
            SELECT (detail ->> 'expires_at')::timestamptz AS expires_at FROM exports.audit_log
            WHERE export_id = %(id)s AND action = 'link' AND NOT detail ? 'links'
                AND (detail ->> 'expires_at')::timestamptz > clock_timestamp()
            ORDER BY 1
            """,
            {"id": export_id},
        )
        return [row["expires_at"] for row in rows]

    def latest(self, limit: int = 100) -> list[AuditEntry]:
        """The newest entries, newest first."""
        rows = self._database.rows("SELECT * FROM exports.audit_log ORDER BY id DESC LIMIT %(limit)s", {"limit": limit})
        return [_entry(row) for row in rows]

    def failures(
        self, since: datetime, *, kinds: Collection[ErrorKind], known: Collection[int], limit: int
    ) -> list[Failure]:
        """The exports that failed since then, oldest first: with an error of these kinds, or recurring ones with any.
        Attempts that were followed by another one are not among them, nor are entries whose ids are `known`."""
        rows = self._database.rows(
            """
            SELECT job.*, entry.id AS entry_id, entry.at AS failed_at, entry.reason AS message, entry.detail
            FROM exports.audit_log AS entry JOIN exports.export_jobs AS job ON job.id = entry.export_id
            WHERE entry.action = 'failure' AND entry.at >= %(since)s AND entry.detail ? 'kind'
                AND (entry.detail ->> 'kind' = ANY (%(kinds)s::text[]) OR job.recurring)
                AND entry.id <> ALL (%(known)s::bigint[])
            ORDER BY entry.at, entry.id LIMIT %(limit)s
            """,
            {"since": since, "kinds": [kind.value for kind in kinds], "known": list(known), "limit": limit},
        )
        return [_failure(row) for row in rows]

    def now(self) -> datetime:
        """The moment by the clock that entries get theirs from."""
        found: datetime = self._database.rows("SELECT clock_timestamp() AS now")[0]["now"]
        return found

    def _append(self, event: AuditEvent) -> None:
        with self._database.transaction() as connection:
            record(connection, event)


def _entry(row: dict[str, Any]) -> AuditEntry:
    export_id = str(row["export_id"]) if row["export_id"] else None
    event = AuditEvent(Action(row["action"]), row["actor"], export_id, row["dataset"], row["reason"], row["detail"])
    return AuditEntry(row["id"], row["at"], event)


def _failure(row: dict[str, Any]) -> Failure:
    return Failure(
        entry_id=row["entry_id"],
        at=row["failed_at"],
        job=job_of(row),
        attempt=row["detail"]["attempt"],
        message=row["message"],
        unproven=row["detail"].get("verification") == Verification.FAILED,
    )
