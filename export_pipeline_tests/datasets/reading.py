"""What somebody gets of a dataset, without a file: authorized, planned and read as an export does it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import polars as pl
import psycopg

from export_pipeline.embedded.sample import USERS, sample_id
from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.extract import Rows, open_source
from export_pipeline.flow.plan import Plan, make_plan
from export_pipeline.flow.request import authorize_plan
from export_pipeline.model.access import Principal, Role
from export_pipeline.model.job import ExportRequest

ADMIN = "admin@example.com"
ANALYST = "analyst@example.com"
COMPLIANCE = "compliance@example.com"
MANAGER = "manager@example.com"
MANAGER2 = "manager2@example.com"
OPERATOR = "operator@example.com"


def authorized(
    engine: Engine,
    dataset: str,
    filters: Mapping[str, str] | None = None,
    *,
    email: str = ADMIN,
    columns: tuple[str, ...] = (),
    at: datetime | None = None,
    conditions: tuple[str, ...] = (),
    sort: tuple[str, ...] = (),
) -> Plan:
    """The plan as far as the person may have it."""
    request = ExportRequest(dataset, email, filters or {}, columns, conditions, sort, format="parquet")
    who = Principal(sample_id("user", email), email, email.partition("@")[0], Role(USERS[email]))
    return authorize_plan(engine, who, make_plan(engine, request, at))[0]


def read(engine: Engine, dataset: str, filters: Mapping[str, str] | None = None, **asked: Any) -> pl.DataFrame:
    """The rows that the person gets."""
    plan = authorized(engine, dataset, filters, **asked)
    with read_source(engine, plan) as rows:
        return pl.concat([rows.schema.to_frame(), *rows.batches])


@contextmanager
def read_source(engine: Engine, plan: Plan) -> Iterator[Rows]:
    """The plan's rows, as an export reads them."""
    with open_source(engine, [plan], Attempt("read", 1)) as opened, opened.read(plan) as rows:
        yield rows


def ask(engine: Engine, query: str, *values: object) -> list[tuple[Any, ...]]:
    """What the source says itself."""
    with psycopg.connect(engine.settings.source.get_secret_value()) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        return connection.execute(query, values or None).fetchall()  # type: ignore[arg-type]


def table(engine: Engine, query: str) -> pl.DataFrame:
    """A query's rows as a frame, for another way to compute."""
    with psycopg.connect(engine.settings.source.get_secret_value()) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        cursor = connection.execute(query)  # type: ignore[arg-type]
        assert cursor.description is not None
        names = [column.name for column in cursor.description]
        return pl.DataFrame(cursor.fetchall(), schema=names, orient="row", infer_schema_length=None)
