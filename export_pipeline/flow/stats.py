"""What there is to export: for each dataset that somebody may have, how many rows, from when to when, in what state.

Cheap whatever there is: small datasets are counted; of large ones the rows are PostgreSQL's estimate, the dates come
by an index, and the states from a sample of the largest table. What is not exact is said to be `about`, and what cannot
be told in time is left open.
"""

import re
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from export_pipeline.flow.authorize import authorize_role, identify, refusals_audited
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.query import WHERE, Selection, select
from export_pipeline.flow.source import Connection, access_settings
from export_pipeline.model.access import Principal, Scope
from export_pipeline.model.dataset import Dataset, Kind

#: A dataset of more rows, by PostgreSQL's estimate, is not counted.
_MOST_COUNTED = 150_000
#: Rows of the largest table in a sample.
_SAMPLED_ROWS = 5_000
#: The longest that one question may take (milliseconds).
_QUESTION_MILLISECONDS = 200
#: What PostgreSQL says where a dataset's tables are not there, or not for us.
_NOT_THERE = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.InsufficientPrivilege,
)
#: For whatever has no value in the column that tells the state.
_NONE = "(none)"


#: Rows, their first and last date, and how many are in each state.
Counted = tuple[int, date | datetime | None, date | datetime | None, dict[str, int]]


@dataclass(frozen=True)
class DatasetStats:
    """What there is of a dataset, for one person: all rows or their own. `rows` is None where it cannot be told in
    time or at all, `first` and `last` also where there are no dates, `by_status` also where rows have no state.
    `about`: rows and states are no exact numbers, and dates without an index may be a little too late or too early."""

    dataset: str
    title: str
    scope: Scope
    rows: int | None
    about: bool
    first: date | datetime | None
    last: date | datetime | None
    by_status: dict[str, int] | None


def dataset_stats(engine: Engine, email: str, dataset: str | None = None) -> list[DatasetStats]:
    """What somebody may export, or of one dataset. Raises Rejected, Forbidden; that the role may not have it is
    audited."""
    principal = identify(engine, email)
    chosen = [engine.dataset(dataset)] if dataset else list(engine.datasets.values())
    if dataset:
        with refusals_audited(engine, principal.email, dataset):
            authorize_role(principal, chosen[0])
    allowed = [item for item in chosen if principal.role in item.access]
    with engine.source.connect() as connection:
        # No transaction of all: a question that is stopped takes nothing else with it.
        connection.execute("SET timezone = 'UTC'")
        connection.execute("SET jit = off")
        questions = [_Questions(connection, item, principal, engine.source.own_role) for item in allowed]
        return [item.stats() if dataset else item.stats_if_any() for item in questions]


class _Questions:
    """What is asked about one dataset's rows, each question within its time."""

    def __init__(self, connection: Connection, dataset: Dataset, principal: Principal, own_role: str | None) -> None:
        self._connection = connection
        self._dataset = dataset
        self._scope = dataset.access[principal.role]
        self._principal = principal
        self._own_role = own_role
        # An aggregate's dates are those of its own rows: what its filter looks at is inside.
        self._aggregates = WHERE in dataset.source
        self._date = _date_of(dataset) if self._aggregates else dataset.date_column
        status = dataset.column(dataset.status) if dataset.status else None
        self._status = status.sql if status else ""

    def stats(self) -> DatasetStats:
        """The answers."""
        # Without a column that tells whose a row is, only what a filter names can be had.
        owner = self._dataset.owner
        if self._scope is Scope.OWN and not (owner and owner.column):
            return self._told(None, False, None, None, None)
        planned = self._planned()
        if planned is None:
            return self._told(None, True, None, None, None)
        if planned <= _MOST_COUNTED or self._aggregates:
            counted = self._counted(self._selection(self._dataset))
            if counted is not None:
                return self._told(counted[0], False, *counted[1:])
        if self._aggregates:
            return self._told(None, True, None, None, None)
        found = self._sampled()
        if found is None:
            return self._told(planned, True, self._end("ASC"), self._end("DESC"), None)
        (total, first, last, states), part = found
        # PostgreSQL knows how many rows a table has, but not how many of a join are somebody's.
        rows = round(total / part) if self._scope is Scope.OWN else planned
        scaled = {name: round(count / total * rows) for name, count in states.items()}
        return self._told(rows, True, self._end("ASC") or first, self._end("DESC") or last, scaled)

    def stats_if_any(self) -> DatasetStats:
        """The answers; none of them where the source does not have what the dataset reads: that is no reason to say
        nothing of the others."""
        try:
            return self.stats()
        except _NOT_THERE:
            return self._told(None, True, None, None, None)

    def _told(
        self,
        rows: int | None,
        about: bool,
        first: date | datetime | None,
        last: date | datetime | None,
        states: dict[str, int] | None,
    ) -> DatasetStats:
        states = states if self._status else None
        return DatasetStats(self._dataset.name, self._dataset.title, self._scope, rows, about, first, last, states)

    def _selection(self, dataset: Dataset) -> Selection:
        """All rows that the person may have, whatever filters an export would need."""
        filters = tuple(replace(item, required=False) for item in dataset.filters)
        return select(replace(dataset, filters=filters), {}, ()).reaching(self._scope, self._principal.id)

    def _planned(self) -> int | None:
        query = sql.SQL("EXPLAIN (FORMAT JSON) SELECT 1 {}").format(self._selection(self._dataset).rows())
        found = self._ask(query)
        return int(found[0][0][0]["Plan"]["Plan Rows"]) if found else None

    def _counted(self, selection: Selection) -> Counted | None:
        """Rows, first and last date, and states, all by one look at the rows."""
        when = sql.SQL(self._date or "NULL::timestamptz")
        status = sql.SQL(self._status or "NULL::text")
        found = self._ask(
            sql.SQL("SELECT ({})::text, count(*), min({}), max({}) {} GROUP BY 1 ORDER BY 2 DESC, 1").format(
                status, when, when, selection.rows()
            )
        )
        if found is None:
            return None
        return (
            sum(row[1] for row in found),
            min((row[2] for row in found if row[2] is not None), default=None),
            max((row[3] for row in found if row[3] is not None), default=None),
            {row[0] if row[0] is not None else _NONE: row[1] for row in found},
        )

    def _sampled(self) -> tuple[Counted, float] | None:
        """The same of a sample: some blocks of the largest table that the dataset names, always the same ones; and
        which part of the table that is."""
        query = sql.SQL(
            "SELECT name, reltuples FROM unnest({}::text[]) AS name JOIN pg_class ON oid = to_regclass(name)"
            " WHERE relkind IN ('r', 'p', 'm') ORDER BY reltuples DESC"
        )
        for name, rows in self._ask(query.format(sql.Literal(list(self._dataset.tables)))) or []:
            percent = min(100.0, 100 * _SAMPLED_ROWS / max(rows, 1))
            sampled, places = re.subn(
                rf"\b({re.escape(name)}\s+AS\s+\w+)",
                rf"\1 TABLESAMPLE SYSTEM ({percent:.6f}) REPEATABLE (1)",
                self._dataset.source,
                flags=re.IGNORECASE,
            )
            if places == 1:
                counted = self._counted(self._selection(replace(self._dataset, source=sampled)))
                return (counted, percent / 100) if counted and counted[0] else None
        return None

    def _end(self, direction: LiteralString) -> date | datetime | None:
        """The first or last date, where there is an index to find it by."""
        if not self._date:
            return None
        when = sql.SQL(self._date)
        selection = self._selection(self._dataset)
        selection = replace(selection, predicates=(*selection.predicates, sql.SQL("({}) IS NOT NULL").format(when)))
        query = sql.SQL("SELECT {} {} ORDER BY 1 {} LIMIT 1").format(when, selection.rows(), sql.SQL(direction))
        found = self._ask(query)
        return found[0][0] if found else None

    def _ask(self, query: sql.Composed) -> list[Any] | None:
        """The rows of the answer, or None where it takes too long."""
        limit, none = (sql.SQL("SET LOCAL statement_timeout = {}").format(ms) for ms in (_QUESTION_MILLISECONDS, 0))
        try:
            with self._connection.transaction():
                for setting in access_settings(self._scope, self._principal.id, self._own_role):
                    self._connection.execute(setting)
                # For the question alone: a COMMIT that is stopped would leave the transaction open, and broken.
                self._connection.execute(limit)
                found = self._connection.execute(query).fetchall()
                self._connection.execute(none)
                return found
        except psycopg.errors.QueryCanceled:
            return None


def _date_of(dataset: Dataset) -> str:
    dated = (column.sql for column in dataset.columns if column.type.kind in (Kind.DATE, Kind.TIMESTAMP))
    return next(dated, "")
