"""Looking jobs up: by id, for a list, by what is due, dead or overdue."""

import time
import uuid
from datetime import datetime
from typing import Any, LiteralString

from psycopg import sql

from export_pipeline.ledger.database import Database
from export_pipeline.ledger.rows import job_of
from export_pipeline.model.errors import NotFound, Transient
from export_pipeline.model.job import ExportJob, Status

CHANNEL = "export_requests"
_RECONNECT_SECONDS = 0.3


class JobLookup:
    """The rows of `exports.export_jobs`, looked up."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, export_id: str) -> ExportJob | None:
        """The job, or None."""
        if not _is_uuid(export_id):
            return None
        rows = self._database.rows("SELECT * FROM exports.export_jobs WHERE id = %(id)s", {"id": export_id})
        return job_of(rows[0]) if rows else None

    def existing(self, export_id: str) -> ExportJob:
        job = self.get(export_id)
        if job is None:
            raise NotFound(f"there is no export {export_id}")
        return job

    def newest(
        self,
        *,
        requester_id: str | None = None,
        requested_by: str | None = None,
        status: Status | None = None,
        dataset: str | None = None,
        template_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        error: str | None = None,
        before: ExportJob | None = None,
        limit: int = 50,
    ) -> list[ExportJob]:
        """The newest jobs, newest first. `requested_by` is an e-mail address, `dataset` one that is asked for alone or
        in a package, `since` and `until` bound when it was asked for, `error` is part of the error's text, and `before`
        the last job of the page before."""
        return self._jobs(
            """
            (%(requester_id)s::text IS NULL OR requester_id = %(requester_id)s)
            AND (%(requested_by)s::text IS NULL OR lower(requested_by) = lower(%(requested_by)s))
            AND (%(status)s::text IS NULL OR status = %(status)s)
            AND (%(dataset)s::text IS NULL OR dataset = %(dataset)s
                OR EXISTS (SELECT FROM regexp_split_to_table(dataset, ',') AS part
                    WHERE %(dataset)s = substring(part FROM '[^[:space:]:]+')))
            AND (%(template_id)s::uuid IS NULL OR template_id = %(template_id)s)
            AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)
            AND (%(until)s::timestamptz IS NULL OR created_at < %(until)s)
            AND (%(error)s::text IS NULL OR strpos(lower(error), lower(%(error)s)) > 0)
            AND (%(before_at)s::timestamptz IS NULL OR created_at < %(before_at)s
                OR (created_at = %(before_at)s AND id > %(before_id)s::uuid))
            ORDER BY created_at DESC, id LIMIT %(limit)s
            """,
            requester_id=requester_id,
            requested_by=requested_by,
            status=status.value if status else None,
            dataset=dataset,
            template_id=template_id,
            since=since,
            until=until,
            error=error,
            before_at=before.created_at if before else None,
            before_id=before.id if before else None,
            limit=limit,
        )

    def due(self, limit: int = 100) -> list[ExportJob]:
        """The pending jobs whose time has come, oldest first."""
        return self._jobs(
            """
            status = 'pending' AND coalesce(not_before, created_at) <= clock_timestamp()
            ORDER BY coalesce(not_before, created_at), id LIMIT %(limit)s
            """,
            limit=limit,
        )

    def wait_for_due(self, timeout_seconds: float) -> list[ExportJob]:
        """The due jobs, as soon as there are any, or none when the time is up. Survives a connection that is cut."""
        until = time.monotonic() + timeout_seconds
        while (left := until - time.monotonic()) > 0:
            try:
                with self._database.listening(CHANNEL) as connection:
                    # Look after listening began: what came in between has either been seen or will be heard of.
                    found = self.due()
                    if found:
                        return found
                    for _ in connection.notifies(timeout=min(left, self._seconds_to_next(left)), stop_after=1):
                        pass
            except Transient:
                time.sleep(min(_RECONNECT_SECONDS, left))
            else:
                found = self.due()
                if found:
                    return found
        return self.due()

    def _seconds_to_next(self, otherwise: float) -> float:
        rows = self._database.rows(
            """
            SELECT extract(epoch FROM min(not_before) - clock_timestamp())::float8 AS seconds
            FROM exports.export_jobs WHERE status = 'pending' AND not_before > clock_timestamp()
            """
        )
        seconds = rows[0]["seconds"]
        return otherwise if seconds is None else max(0.0, float(seconds)) + 0.001

    def overdue(self, now: datetime, limit: int = 1000) -> list[ExportJob]:
        """The completed jobs whose time is up."""
        return self._jobs(
            "status = 'completed' AND expires_at <= %(now)s ORDER BY expires_at LIMIT %(limit)s", now=now, limit=limit
        )

    def live(self, *, after: str = "", limit: int = 1000) -> list[ExportJob]:
        """The completed jobs whose files are still there, by id, from the one after `after` on."""
        return self._jobs(
            "status = 'completed' AND (%(after)s = '' OR id > nullif(%(after)s, '')::uuid) ORDER BY id LIMIT %(limit)s",
            after=after,
            limit=limit,
        )

    def running(self) -> list[ExportJob]:
        """The jobs that a worker has now."""
        return self._jobs("status = 'processing' ORDER BY id")

    def dead(self, silent_seconds: float, limit: int = 100) -> list[ExportJob]:
        """The running jobs whose worker has been silent for so long, by the database's clock."""
        return self._jobs(
            """
            status = 'processing' AND heartbeat_at < clock_timestamp() - make_interval(secs => %(seconds)s)
            ORDER BY heartbeat_at LIMIT %(limit)s
            """,
            seconds=silent_seconds,
            limit=limit,
        )

    def of_run(self, run_id: str) -> list[ExportJob]:
        """The jobs that a Dagster run last had."""
        return self._jobs("dagster_run_id = %(run_id)s", run_id=run_id)

    def completed_outside_dagster(self, since: datetime, *, known: list[str], limit: int) -> list[ExportJob]:
        """The jobs that were completed since then by no run of Dagster's, but for the `known`, oldest first."""
        return self._jobs(
            """
            status = 'completed' AND dagster_run_id IS NULL
            AND completed_at >= %(since)s AND id <> ALL (%(known)s::uuid[])
            ORDER BY completed_at, id LIMIT %(limit)s
            """,
            since=since,
            known=known,
            limit=limit,
        )

    def _jobs(self, condition: LiteralString, **values: Any) -> "list[ExportJob]":
        rows = self._database.rows(
            sql.SQL("SELECT * FROM exports.export_jobs WHERE {}").format(sql.SQL(condition)), values
        )
        return [job_of(row) for row in rows]


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
