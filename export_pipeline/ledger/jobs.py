"""The jobs: every change of a row is one transaction with its audit entry, and is conditioned on the status and the
attempt that it starts from, so that a worker that was given up can change nothing.
"""

from collections.abc import Callable, Collection
from dataclasses import asdict
from datetime import datetime
from typing import Any, LiteralString

from psycopg import sql
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from export_pipeline.ledger.audit import Action, event_of, record
from export_pipeline.ledger.database import Connection
from export_pipeline.ledger.lookup import JobLookup
from export_pipeline.ledger.rows import asked, job_of
from export_pipeline.model.access import Principal
from export_pipeline.model.errors import Cancelled, ErrorKind, ExportError, Rejected, Superseded
from export_pipeline.model.job import ExportJob, ExportRequest, Outcome, Phase, Status
from export_pipeline.model.verification import Verification

#: A row that this attempt has, and nobody else.
_OURS = sql.SQL("id = %(id)s AND attempt = %(attempt)s AND status = 'processing'")

#: What a row forgets when it waits for its next attempt.
_AFRESH = sql.SQL("""
    status = 'pending', attempt = attempt + 1, phase = NULL, rows_done = 0, bytes = NULL, files = '[]',
    verification = NULL, truncated = false, snapshot_at = NULL, heartbeat_at = NULL, cancel_requested_at = NULL,
    cancel_requested_by = NULL
""")


class Jobs(JobLookup):
    """The rows of `exports.export_jobs`, looked up and changed."""

    def file(
        self,
        request: ExportRequest,
        *,
        requester: Principal,
        owner_id: str | None,
        reason: str,
        claim_as: str | None = None,
        prefix_of: Callable[[ExportJob], str] | None = None,
        names: Collection[str] = (),
    ) -> ExportJob:
        """Files a request, whose datasets have these names in it (see `asked`). With `claim_as` (a Dagster run's id, or
        empty for none) and `prefix_of` the row is claimed in the same transaction, so that no sensor ever sees it
        waiting."""
        with self._database.transaction() as connection:
            row = connection.execute(
                """
                INSERT INTO exports.export_jobs (dataset, filters, columns, conditions, sort, truncate, contact_info,
                    masks, recipient, reason, since, template_id, format, options, destination, recurring, verify,
                    requested_by, requester_id, owner_id, not_before)
                VALUES (%(dataset)s, %(filters)s, %(columns)s, %(conditions)s, %(sort)s, %(truncate)s, %(contact_info)s,
                    %(masks)s, %(recipient)s, %(reason)s, %(since)s, %(template_id)s, %(format)s, %(options)s,
                    %(destination)s, %(recurring)s, %(verify)s,
                    %(requested_by)s, %(requester_id)s, %(owner_id)s, %(not_before)s)
                RETURNING *
                """,
                {
                    "dataset": request.dataset,
                    "filters": Jsonb(dict(request.filters)),
                    "columns": list(request.columns),
                    "conditions": list(request.conditions),
                    "sort": list(request.sort),
                    "truncate": request.truncate,
                    "contact_info": request.contact_info,
                    "masks": Jsonb(dict(request.masks)),
                    "recipient": request.recipient,
                    "reason": request.reason,
                    "since": request.since,
                    "template_id": request.template_id,
                    "format": request.format,
                    "options": Jsonb(dict(request.options)),
                    "destination": request.destination,
                    "recurring": request.recurring,
                    "verify": request.verify.value if request.verify else None,
                    "requested_by": requester.email,
                    "requester_id": requester.id,
                    "owner_id": owner_id,
                    "not_before": request.not_before,
                },
            ).fetchone()
            assert row is not None
            job = job_of(row)
            record(connection, event_of(job, Action.REQUEST, requester.email, reason, **asked(request, names)))
            if claim_as is None or prefix_of is None:
                return job
            return self._claim(connection, job.id, job.attempt, claim_as or None, prefix_of(job))

    def claim(self, export_id: str, attempt: int, *, run_id: str | None, prefix: str) -> ExportJob:
        """Takes a pending row for this worker. Raises Superseded where it is not there to take."""
        with self._database.transaction() as connection:
            return self._claim(connection, export_id, attempt, run_id, prefix)

    def beat(
        self,
        export_id: str,
        attempt: int,
        *,
        phase: Phase,
        rows_done: int,
        rows_estimated: int | None,
        bytes_done: int,
    ) -> bool:
        """Records that the worker lives and how far it is; tells whether a cancel was asked for. Raises Superseded."""
        row = self._change(
            sql.SQL("""
            UPDATE exports.export_jobs
            SET heartbeat_at = clock_timestamp(), rows_done = %(rows_done)s, rows_estimated = %(rows_estimated)s,
                bytes = %(bytes)s,
                phase = CASE WHEN phase = 'publishing' THEN phase ELSE %(phase)s END
            WHERE {ours} RETURNING *
            """).format(ours=_OURS),
            export_id,
            attempt,
            phase=phase.value,
            rows_done=rows_done,
            rows_estimated=rows_estimated,
            bytes=bytes_done,
        )
        return row["cancel_requested_at"] is not None

    def cancel_requested(self, export_id: str, attempt: int) -> bool:
        """Whether a cancel was asked for. Raises Superseded where this attempt no longer has the row."""
        rows = self._database.rows(
            sql.SQL("SELECT cancel_requested_at FROM exports.export_jobs WHERE {}").format(_OURS),
            {"id": export_id, "attempt": attempt},
        )
        if not rows:
            raise _superseded(export_id, attempt)
        return rows[0]["cancel_requested_at"] is not None

    def publish(self, export_id: str, attempt: int, outcome: Outcome) -> None:
        """Records what is about to be published, before it is: whoever finds the manifest then can complete the row.
        Raises Cancelled, Superseded."""
        self._change(
            sql.SQL("""
            UPDATE exports.export_jobs
            SET phase = 'publishing', files = %(files)s, bytes = %(bytes)s, rows_done = %(rows)s,
                verification = %(verification)s, truncated = %(truncated)s, snapshot_at = %(snapshot_at)s,
                heartbeat_at = clock_timestamp()
            WHERE {ours} AND cancel_requested_at IS NULL RETURNING *
            """).format(ours=_OURS),
            export_id,
            attempt,
            files=Jsonb([asdict(file) for file in outcome.files]),
            bytes=sum(file.bytes for file in outcome.files),
            rows=sum(file.rows for file in outcome.files),
            verification=outcome.verification.value,
            truncated=outcome.truncated,
            snapshot_at=outcome.snapshot_at,
        )

    def complete(self, export_id: str, attempt: int, *, expires_at: datetime) -> ExportJob:
        """The manifest is out: the export is complete. Raises Superseded, and Cancelled where a cancel came before."""
        with self._database.transaction() as connection:
            job = _updated(
                connection,
                sql.SQL("""
                UPDATE exports.export_jobs
                SET status = 'completed', completed_at = clock_timestamp(), expires_at = %(expires_at)s, phase = NULL,
                    cancel_requested_at = NULL, cancel_requested_by = NULL, error = NULL, error_kind = NULL
                WHERE {ours} AND phase = 'publishing' AND cancel_requested_at IS NULL RETURNING *
                """).format(ours=_OURS),
                {"id": export_id, "attempt": attempt, "expires_at": expires_at},
            )
            connection.execute(
                "DELETE FROM exports.leftovers WHERE export_id = %(id)s AND attempt = %(attempt)s",
                {"id": export_id, "attempt": attempt},
            )
            delivered: dict[str, Any] = {
                "rows": job.rows,
                "bytes": job.bytes,
                "sha256": [file.sha256 for file in job.files],
                "verification": job.verification.value if job.verification else None,
            }
            record(connection, event_of(job, Action.COMPLETION, job.request.requested_by, **delivered))
            return job

    def fail(
        self, export_id: str, attempt: int, *, kind: ErrorKind, message: str, actor: str, unproven: bool = False
    ) -> ExportJob:
        """Ends a job, running or still pending, as failed; `unproven`: since its files were read back and are not what
        was read from the source. Raises Superseded."""
        return self._end(
            Status.FAILED,
            Action.FAILURE,
            export_id,
            attempt,
            actor=actor,
            reason=message,
            kind=kind,
            error=message,
            verification=Verification.FAILED if unproven else None,
        )

    def cancelled(self, export_id: str, attempt: int, *, actor: str, reason: str) -> ExportJob:
        """Ends a job, running or still pending, as cancelled. Raises Superseded."""
        return self._end(
            Status.CANCELLED,
            Action.CANCEL,
            export_id,
            attempt,
            actor=actor,
            reason=reason,
            kind=ErrorKind.CANCELLED,
            error="the export was cancelled",
        )

    def try_again(self, export_id: str, attempt: int, *, message: str, not_before: datetime) -> ExportJob:
        """Gives the row back for its next attempt. Raises Superseded, and Cancelled where a cancel was asked for."""
        with self._database.transaction() as connection:
            job = _updated(
                connection,
                sql.SQL("""
                UPDATE exports.export_jobs SET {afresh}, not_before = %(not_before)s,
                    error = %(error)s, error_kind = 'transient'
                WHERE {ours} AND cancel_requested_at IS NULL RETURNING *
                """).format(ours=_OURS, afresh=_AFRESH),
                {"id": export_id, "attempt": attempt, "not_before": not_before, "error": message},
            )
            reason = f"{message}; will be tried again as attempt {job.attempt}"
            record(connection, event_of(job, Action.FAILURE, job.request.requested_by, reason))
            return job

    def request_cancel(self, export_id: str, *, actor: str) -> ExportJob:
        """Cancels a pending job at once; asks the worker of a running one to stop. Raises NotFound, Rejected where the
        job has ended."""
        job = self.existing(export_id)
        if job.status is Status.PENDING:
            try:
                return self.cancelled(job.id, job.attempt, actor=actor, reason="cancelled before it began")
            except Superseded:
                job = self.existing(export_id)  # a worker has just taken it
        with self._database.transaction() as connection:
            row = connection.execute(
                """
                UPDATE exports.export_jobs
                SET cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()),
                    cancel_requested_by = coalesce(cancel_requested_by, %(actor)s)
                WHERE id = %(id)s AND status = 'processing' RETURNING *
                """,
                {"id": export_id, "actor": actor},
            ).fetchone()
            if row is not None:
                asked_for = job_of(row)
                record(connection, event_of(asked_for, Action.CANCEL, actor, "asked the worker to stop"))
                return asked_for
        job = self.existing(export_id)
        raise Rejected(f"the export {export_id} is {job.status.value} already; it cannot be cancelled")

    def retry(self, export_id: str, *, actor: str) -> ExportJob:
        """Makes a failed or cancelled job wait for its next attempt. Raises NotFound, Rejected where it is neither."""
        self.existing(export_id)
        with self._database.transaction() as connection:
            row = connection.execute(
                sql.SQL("""
                UPDATE exports.export_jobs SET {afresh}, not_before = NULL, error = NULL, error_kind = NULL
                WHERE id = %(id)s AND status IN ('failed', 'cancelled') RETURNING *
                """).format(afresh=_AFRESH),
                {"id": export_id},
            ).fetchone()
            if row is not None:
                job = job_of(row)
                record(connection, event_of(job, Action.RETRY, actor))
                return job
        job = self.existing(export_id)
        raise Rejected(
            f"the export {export_id} is {job.status.value}; only a failed or cancelled one can be tried again"
        )

    def expire(self, export_id: str, *, actor: str, reason: str = "", **detail: Any) -> ExportJob:
        """The files of a completed job are gone; `detail` goes into the audit log. Raises Superseded where it is not
        completed."""
        with self._database.transaction() as connection:
            job = _updated(
                connection,
                """
                UPDATE exports.export_jobs SET status = 'expired'
                WHERE id = %(id)s AND status = 'completed' RETURNING *
                """,
                {"id": export_id, "attempt": 0},
            )
            record(connection, event_of(job, Action.EXPIRY, actor, reason, **detail))
            return job

    def _claim(
        self, connection: Connection, export_id: str, attempt: int, run_id: str | None, prefix: str
    ) -> ExportJob:
        job = _updated(
            connection,
            """
            UPDATE exports.export_jobs
            SET status = 'processing', phase = 'planning', started_at = clock_timestamp(),
                heartbeat_at = clock_timestamp(), dagster_run_id = %(run_id)s, error = NULL, error_kind = NULL
            WHERE id = %(id)s AND attempt = %(attempt)s AND status = 'pending' RETURNING *
            """,
            {"id": export_id, "attempt": attempt, "run_id": run_id},
        )
        connection.execute(
            """
            INSERT INTO exports.leftovers (export_id, attempt, destination, prefix)
            VALUES (%(id)s, %(attempt)s, %(destination)s, %(prefix)s)
            """,
            {"id": job.id, "attempt": attempt, "destination": job.request.destination, "prefix": prefix},
        )
        record(connection, event_of(job, Action.START, job.request.requested_by, dagster_run_id=run_id))
        return job

    def _end(
        self,
        status: Status,
        action: Action,
        export_id: str,
        attempt: int,
        *,
        actor: str,
        reason: str,
        kind: ErrorKind,
        error: str,
        verification: Verification | None = None,
    ) -> ExportJob:
        with self._database.transaction() as connection:
            row = connection.execute(
                """
                UPDATE exports.export_jobs
                SET status = %(status)s, error = %(error)s, error_kind = %(kind)s, phase = NULL, files = '[]',
                    verification = %(verification)s
                WHERE id = %(id)s AND attempt = %(attempt)s AND status IN ('pending', 'processing') RETURNING *
                """,
                {
                    "id": export_id,
                    "attempt": attempt,
                    "status": status.value,
                    "error": error,
                    "kind": kind.value,
                    "verification": verification.value if verification else None,
                },
            ).fetchone()
            if row is None:
                raise _superseded(export_id, attempt)
            job = job_of(row)
            # Whoever asked for the cancel is who cancelled, not whoever noticed.
            who = row["cancel_requested_by"] if status is Status.CANCELLED and row["cancel_requested_by"] else actor
            proven = {"verification": verification.value} if verification else {}
            record(connection, event_of(job, action, who, reason, kind=kind.value, **proven))
            return job

    def _change(self, statement: LiteralString | sql.Composed, export_id: str, attempt: int, **values: Any) -> DictRow:
        rows = self._database.rows(statement, {"id": export_id, "attempt": attempt, **values})
        if not rows:
            with self._database.transaction() as connection:
                raise _lost(connection, export_id, attempt)
        return rows[0]


def _updated(connection: Connection, statement: LiteralString | sql.Composed, values: dict[str, Any]) -> ExportJob:
    row = connection.execute(statement, values).fetchone()
    if row is None:
        raise _lost(connection, values["id"], values["attempt"])
    return job_of(row)


def _lost(connection: Connection, export_id: str, attempt: int) -> ExportError:
    """Why a row could not be changed: it was to be cancelled, or this attempt no longer has it."""
    find = sql.SQL("SELECT 1 FROM exports.export_jobs WHERE {} AND cancel_requested_at IS NOT NULL").format(_OURS)
    if connection.execute(find, {"id": export_id, "attempt": attempt}).fetchone():
        return Cancelled("the export was cancelled")
    return _superseded(export_id, attempt)


def _superseded(export_id: str, attempt: int) -> Superseded:
    return Superseded(f"attempt {attempt} of the export {export_id} no longer has the row: it ended or was taken over")
