"""Watermarks: how far each series of incremental exports has come.

An attempt joins the series before it reads, and records its watermark before it publishes. The watermark is in force
from the moment when its export is completed, in the very transaction: whether it counts is asked of the export's
status. So an attempt that fails, is cancelled or dies moves nothing, and the next one starts where it did.
"""

from dataclasses import dataclass

from psycopg.rows import DictRow

from export_pipeline.ledger.database import Connection, Database
from export_pipeline.model.errors import Rejected, Superseded


@dataclass(frozen=True)
class Watermark:
    """Up to where the last completed export of a series came: all rows of transactions older than `up_to` in
    `database` have been delivered."""

    export_id: str
    database: str
    up_to: int


class Watermarks:
    """The rows of `exports.watermarks`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def join(self, export_id: str, attempt: int, series: str) -> Watermark | None:
        """Makes the attempt the one that continues the series. Returns the watermark of its last completed export, if
        there is one. Raises Rejected while another export of the series is running, Superseded where the attempt is
        over."""
        with self._database.transaction() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%(series)s, 0))", {"series": series})
            connection.execute(
                """
                DELETE FROM exports.watermarks AS mark USING exports.export_jobs AS job
                WHERE job.id = mark.export_id AND (
                    job.id = %(id)s OR mark.series = %(series)s AND job.status IN ('pending', 'failed', 'cancelled'))
                """,
                {"id": export_id, "series": series},
            )
            last = _last_of(connection, series)
            if last is not None and last["status"] == "processing":
                raise Rejected(
                    f"the export {last['export_id']} of the same series is running; ask again when it has ended: what "
                    "it does not deliver will be in the next"
                )
            joined = connection.execute(
                """
                INSERT INTO exports.watermarks (export_id, attempt, series, previous)
                SELECT id, attempt, %(series)s, %(previous)s FROM exports.export_jobs
                WHERE id = %(id)s AND attempt = %(attempt)s AND status = 'processing'
                """,
                {
                    "id": export_id,
                    "attempt": attempt,
                    "series": series,
                    "previous": last["export_id"] if last else None,
                },
            )
            if joined.rowcount == 0:
                raise _superseded(export_id, attempt)
        return Watermark(str(last["export_id"]), last["database"], last["up_to"]) if last else None

    def record(self, export_id: str, attempt: int, *, database: str, up_to: int) -> None:
        """Records how far the attempt will have come when its export is completed. Raises Superseded where it is no
        longer the one that continues its series."""
        with self._database.transaction() as connection:
            recorded = connection.execute(
                """
                UPDATE exports.watermarks SET database = %(database)s, up_to = %(up_to)s
                WHERE export_id = %(id)s AND attempt = %(attempt)s
                """,
                {"id": export_id, "attempt": attempt, "database": database, "up_to": up_to},
            )
            if recorded.rowcount == 0:
                raise _superseded(export_id, attempt)


def _last_of(connection: Connection, series: str) -> DictRow | None:
    """The newest of the series: with what has ended in vain gone, it is completed or running."""
    return connection.execute(
        """
        SELECT mark.export_id, mark.database, mark.up_to, job.status
        FROM exports.watermarks AS mark JOIN exports.export_jobs AS job ON job.id = mark.export_id
        WHERE mark.series = %(series)s ORDER BY mark.id DESC LIMIT 1
        """,
        {"series": series},
    ).fetchone()


def _superseded(export_id: str, attempt: int) -> Superseded:
    return Superseded(f"attempt {attempt} of the export {export_id} no longer continues its series")
