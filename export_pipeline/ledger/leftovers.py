"""What attempts may have left at their destination: recorded when one begins, struck off when clean."""

from dataclasses import dataclass

from export_pipeline.ledger.database import Database


@dataclass(frozen=True)
class Leftover:
    """An attempt that ended without an export and has not been cleaned up."""

    export_id: str
    attempt: int
    destination: str
    prefix: str


class Leftovers:
    """The list of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, limit: int = 100) -> list[Leftover]:
        """Those of attempts that are over, oldest first."""
        rows = self._database.rows(
            """
            SELECT leftover.export_id::text, leftover.attempt, leftover.destination, leftover.prefix
            FROM exports.leftovers AS leftover
            JOIN exports.export_jobs AS job ON job.id = leftover.export_id
            WHERE NOT (job.attempt = leftover.attempt AND job.status IN ('processing', 'completed', 'expired'))
            ORDER BY leftover.recorded_at
            LIMIT %(limit)s
            """,
            {"limit": limit},
        )
        return [Leftover(**row) for row in rows]

    def done(self, export_id: str, attempt: int) -> None:
        """Strikes one off: its destination is clean."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM exports.leftovers WHERE export_id = %(id)s AND attempt = %(attempt)s",
                {"id": export_id, "attempt": attempt},
            )
