"""Which rows are new or changed between two snapshots, told by their transactions, not by a timestamp: rows that are
committed late are then not lost (measured: docs/incremental.md).

A snapshot's `xmin` is the oldest transaction that was still running; all older ones have ended for good. A row belongs
to the export whose half-open window [previous snapshot's xmin, this snapshot's xmin) its transaction is in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from export_pipeline.flow.source import Connection, translated_errors
from export_pipeline.model.errors import Rejected

_CYCLE = 2**32
#: A row's transaction is known by 32 bits; across more than half of that, older and newer cannot be told apart.
_FARTHEST = 2**31
#: Below are no transactions: 1 and 2 mark rows that were always there.
_FIRST = 3


@dataclass(frozen=True)
class Moment:
    """What a snapshot says about transactions (64 bits): all older than `xmin` have ended, none from `xmax` on is seen.

    `database` tells one source from another, and from itself after a restore. `oldest` is when the oldest transaction
    that still writes began, where the account may see it.
    """

    database: str
    xmin: int
    xmax: int
    oldest: datetime | None = None


@dataclass(frozen=True)
class Window:
    """The rows to deliver at a moment: from `since` on, which is None for all that there are."""

    at: Moment
    since: int | None = None

    def predicate(self, tables: Sequence[str]) -> sql.Composed:
        """Whether a row belongs to the window, by the newest of the rows that it is joined from.

        A row of a transaction that ended while an older one was still running can be seen already, but is left to the
        next export, with all that is joined to it: so each combination is delivered once.
        """
        late = [_from(table, self.at.xmin, self.at.xmax) for table in tables]
        parts = [sql.SQL("NOT ({})").format(sql.SQL(" OR ").join(late))]
        if self.since is not None:
            new = [_from(table, self.since, self.at.xmax) for table in tables]
            parts.insert(0, sql.SQL("({})").format(sql.SQL(" OR ").join(new)))
        return sql.SQL("({})").format(sql.SQL(" AND ").join(parts))


def window_between(at: Moment, previous: tuple[str, int] | None) -> Window:
    """The window from the previous export's database and xmin to this moment; None: all rows. Raises Rejected where
    nobody can tell any more what is new."""
    if previous is None:
        return Window(at)
    database, since = previous
    again = "ask for all rows with --since start, which begins the series again"
    if database != at.database:
        raise Rejected(
            "the source is another database than at the last export of this series, was restored, or a standby took "
            f"over, so what is new since then cannot be told; {again}"
        )
    if at.xmin < since:
        raise Rejected(
            f"the source has seen fewer transactions than at the last export of this series ({at.xmin} < {since}): it "
            f"was restored from a backup, or is a copy that lags behind; {again}"
        )
    if at.xmax - since >= _FARTHEST:
        raise Rejected(
            f"more than 2 billion transactions have ended since the last export of this series; {again}, and export "
            "more often"
        )
    return Window(at, since)


def moment_of(connection: Connection) -> Moment:
    """What the connection's snapshot says; it must be in a transaction with one snapshot."""
    with translated_errors():
        found = connection.execute(
            """
            SELECT pg_snapshot_xmin(snapshot)::text, pg_snapshot_xmax(snapshot)::text,
                (SELECT oid::text FROM pg_database WHERE datname = current_database()), pg_is_in_recovery()
            FROM pg_current_snapshot() AS snapshot
            """
        ).fetchone()
        assert found is not None
        xmin, xmax, oid, standby = found
        system = _asked(connection, sql.SQL("SELECT system_identifier::text FROM pg_control_system()"))
        timeline = _asked(connection, _TIMELINE_OF_STANDBY if standby else _TIMELINE)
        oldest = connection.execute(_OLDEST).fetchone()
    return Moment(f"{system}/{timeline}/{oid}", int(xmin), int(xmax), oldest[0] if oldest else None)


_TIMELINE = sql.SQL("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")
_TIMELINE_OF_STANDBY = sql.SQL("SELECT upper(lpad(to_hex(timeline_id), 8, '0')) FROM pg_control_checkpoint()")
_OLDEST = """
    SELECT min(began) FROM (
        SELECT xact_start AS began FROM pg_stat_activity WHERE backend_xid IS NOT NULL
        UNION ALL SELECT prepared FROM pg_prepared_xacts
    ) AS writers
"""


def _asked(connection: Connection, query: sql.SQL) -> str:
    """The one value that the query yields; empty where this server or this account has no such thing."""
    try:
        with connection.transaction():
            found = connection.execute(query).fetchone()
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFunction, psycopg.NotSupportedError):
        return ""
    return str(found[0]) if found else ""


def _from(table: str, first: int, end: int) -> sql.Composed:
    """Whether the table's row is of a transaction in [first, end), counted in the circle of 32 bits. Of an outer join
    that found nothing there is no row, so it is not."""
    xid = sql.SQL("coalesce({}::text::bigint, 0)").format(sql.SQL(f"{table}.xmin"))
    return sql.SQL("({xid} >= {least} AND (({xid} - {first}) & {mask}) < {count})").format(
        xid=xid,
        least=sql.Literal(_FIRST),
        first=sql.Literal(first % _CYCLE),
        mask=sql.Literal(_CYCLE - 1),
        count=sql.Literal(end - first),
    )
