"""A dataset with a column of every type and awkward values in it, what Python finds there, and what PostgreSQL does."""

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from psycopg import sql

from export_pipeline.embedded.sample import sample_id
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.plan import make_plan
from export_pipeline.flow.query import select
from export_pipeline.flow.request import authorize_plan
from export_pipeline.model.access import Principal, Role, Scope
from export_pipeline.model.condition import Operator
from export_pipeline.model.dataset import (
    BOOLEAN,
    DATE,
    FLOAT,
    INTEGER,
    JSON,
    TEXT,
    TIMESTAMP,
    UUID,
    Column,
    Dataset,
    decimal,
)
from export_pipeline.model.job import ExportRequest
from export_pipeline_tests.datasets.reading import ADMIN, read_source

TEXTS = (
    "new",
    "New",
    "100%",
    "100 x",
    "A_7",
    "A97",
    "c:\\temp",
    "it's",
    'say "x"',
    "é😀",
    "",
    "and",
    "(a)",
    "a,b",
    "new new",
)
DAY, MOMENT = date(2010, 1, 1), datetime(2010, 1, 1, 12, tzinfo=UTC)
DOCUMENTS: tuple[Any, ...] = (
    {"n": 5, "s": "5", "b": True, "deep": {"key.x": "new"}},
    {"n": 5.50, "s": "new"},
    {"n": "5", "s": None, "b": "true"},
    {"n": -1e3, "s": "New 100%", "b": False},
    {},
    [1, 2],
)


def _rows() -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = [
        (
            number,
            text,
            f"00000000-0000-4000-8000-{number:012}",
            number - 7,
            Decimal(number * 25 - 100) / 100,
            (number - 3) / 10,
            number % 2 == 0,
            DAY + timedelta(days=number),
            MOMENT + timedelta(hours=number),
            json.dumps(DOCUMENTS[number % len(DOCUMENTS)]),
        )
        for number, text in enumerate(TEXTS)
    ]
    return [*rows, (len(rows), *(None,) * 9)]


ROWS = _rows()
NAMES = ("n", "txt", "uid", "whole", "dec", "flt", "flag", "day", "moment", "doc")
TYPES = (INTEGER, TEXT, UUID, INTEGER, decimal(12, 2), FLOAT, BOOLEAN, DATE, TIMESTAMP, JSON)
CASTS = ("int", "text", "uuid", "bigint", "numeric", "float8", "bool", "date", "timestamptz", "jsonb")
ADMINS = {Role.ADMIN: Scope.ALL}


def _source() -> str:
    lines = sql.SQL(", ").join(
        sql.SQL("({})").format(
            sql.SQL(", ").join(
                sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(cast))
                for value, cast in zip(row, CASTS, strict=True)
            )
        )
        for row in ROWS
    )
    return f"(VALUES {lines.as_string()}) AS t ({', '.join(NAMES)})"


THINGS = Dataset(
    name="things",
    title="Things",
    description="",
    source=_source(),
    columns=tuple(Column(name, kind, f"t.{name}", "") for name, kind in zip(NAMES, TYPES, strict=True)),
    filters=(),
    order_by="t.n",
    access=ADMINS,
)


def found(engine: Engine, *conditions: str, dataset: Dataset = THINGS) -> list[int]:
    """The numbers of the rows that the conditions select, asked as a plan does."""
    rows = select(dataset, {}, (), conditions=conditions).reaching(Scope.ALL).rows()
    with engine.source.connect() as connection:
        query = sql.SQL("SELECT t.n {} ORDER BY 1").format(rows)
        return [row[0] for row in connection.execute(query).fetchall()]


def holds(name: str, test: Callable[[Any], bool], *, without_value: bool = False) -> list[int]:
    """The numbers of the rows of which the test holds; of those without a value, what is said."""
    place = NAMES.index(name)
    return [row[0] for row in ROWS if (without_value if row[place] is None else test(row[place]))]


def quoted(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


COLUMNS = dict(zip(NAMES, TYPES, strict=True))
NEGATIVE = {Operator.NE, Operator.NOT_IN, Operator.NOT_CONTAINS}
TESTS: dict[Operator, Callable[[Any, Any, Any], bool]] = {
    Operator.EQ: lambda value, a, _: value == a,
    Operator.NE: lambda value, a, _: value != a,
    Operator.GT: lambda value, a, _: value > a,
    Operator.GTE: lambda value, a, _: value >= a,
    Operator.LT: lambda value, a, _: value < a,
    Operator.LTE: lambda value, a, _: value <= a,
    Operator.IN: lambda value, a, b: value in (a, b),
    Operator.NOT_IN: lambda value, a, b: value not in (a, b),
    Operator.CONTAINS: lambda value, a, _: a in value,
    Operator.NOT_CONTAINS: lambda value, a, _: a not in value,
    Operator.STARTS_WITH: lambda value, a, _: value.startswith(a),
    Operator.ENDS_WITH: lambda value, a, _: value.endswith(a),
    Operator.BETWEEN: lambda value, a, b: a <= value <= b,
    Operator.MATCHES: lambda value, a, _: re.search(re.escape(a), value) is not None,
}


def read_things(engine: Engine, *conditions: str, **asked: Any) -> list[int]:
    request = ExportRequest("things", ADMIN, conditions=conditions, format="parquet", **asked)
    admin = Principal(sample_id("user", ADMIN), ADMIN, "admin", Role.ADMIN)
    plan, _ = authorize_plan(engine, admin, make_plan(engine, request))
    with read_source(engine, plan) as rows:
        return [number for batch in rows.batches for number in batch["n"]]
