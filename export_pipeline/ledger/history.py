"""What the history of exports adds up to: how often what is used, and how large and quick exports were."""

from dataclasses import dataclass
from datetime import datetime

from export_pipeline.ledger.database import Database


@dataclass(frozen=True)
class Use:
    """How often something was asked for: `kind` is dataset, format or template, `delivered` how many of the exports
    were completed, `people` by how many."""

    kind: str
    name: str
    exports: int
    delivered: int
    people: int
    rows: int
    last_at: datetime


@dataclass(frozen=True)
class Delivery:
    """An export that was completed, in numbers."""

    format: str
    compression: str | None
    rows: int
    bytes: int
    seconds: float


class History:
    """Sums over `exports.export_jobs`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def usage(
        self, *, requester_id: str | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> list[Use]:
        """What was asked for, by one person or by all, the most used first. Recurring exports count, by the service."""
        rows = self._database.rows(
            """
            SELECT use.kind, use.name, count(*) AS exports,
                count(*) FILTER (WHERE job.status IN ('completed', 'expired')) AS delivered,
                count(DISTINCT job.requester_id) AS people,
                coalesce(sum(job.rows_done) FILTER (WHERE job.status IN ('completed', 'expired')), 0)::bigint AS rows,
                max(job.created_at) AS last_at
            FROM exports.export_jobs AS job
            CROSS JOIN LATERAL (
                VALUES ('dataset', job.dataset), ('format', job.format), ('template', job.template_id::text)
            ) AS use (kind, name)
            WHERE use.name IS NOT NULL
                AND (%(requester_id)s::text IS NULL OR job.requester_id = %(requester_id)s)
                AND (%(since)s::timestamptz IS NULL OR job.created_at >= %(since)s)
                AND (%(until)s::timestamptz IS NULL OR job.created_at < %(until)s)
            GROUP BY use.kind, use.name
            ORDER BY use.kind, exports DESC, use.name
            """,
            {"requester_id": requester_id, "since": since, "until": until},
        )
        return [Use(**row) for row in rows]

    def deliveries(self, dataset: str, columns: tuple[str, ...], *, limit: int = 200) -> list[Delivery]:
        """The newest completed exports of a dataset with those columns (none: its usual ones) that had rows."""
        rows = self._database.rows(
            """
            SELECT format, options ->> 'compression' AS compression, rows_done AS rows, bytes,
                extract(epoch FROM completed_at - started_at)::float8 AS seconds
            FROM exports.export_jobs
            WHERE dataset = %(dataset)s AND columns = %(columns)s::text[] AND status IN ('completed', 'expired')
                AND rows_done > 0 AND bytes > 0 AND completed_at > started_at
            ORDER BY created_at DESC LIMIT %(limit)s
            """,
            {"dataset": dataset, "columns": list(columns), "limit": limit},
        )
        return [Delivery(**row) for row in rows]
