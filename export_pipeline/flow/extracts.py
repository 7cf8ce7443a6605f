"""Extracts: the source's tables as Parquet files in the bucket, taken together out of one snapshot.

Recurring exports are made from them, with the same SQL by DuckDB, so that the nightly exports of a hundred campaigns
read the source once. Extracts hold everything: they are encrypted, no link is ever made to one, and they have a
retention of their own.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from psycopg import sql

from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.extract import Opened, Rows, rows_of, stream
from export_pipeline.flow.plan import SELECTED_AS, Plan, fit_plan
from export_pipeline.flow.publish import MANIFEST, publish_manifest
from export_pipeline.flow.query import select
from export_pipeline.flow.source import Snapshot
from export_pipeline.flow.write import write_files
from export_pipeline.model.access import Scope
from export_pipeline.model.dataset import (
    INTEGER,
    JSON,
    TEXT,
    TIMESTAMP,
    UUID,
    Column,
    Dataset,
    Kind,
    Type,
    decimal,
)
from export_pipeline.model.errors import Broken, Transient
from export_pipeline.model.format import FileContext
from export_pipeline.model.job import ExportFile, ExportRequest

_DESTINATION = "s3"
#: Rows that DuckDB hands over at once.
_BATCH_ROWS = 16_384
_TAKEN_AT = "%Y%m%dT%H%M%SZ"


def _table(name: str, /, **columns: Type) -> Dataset:
    return Dataset(
        name=name,
        title=f"Extract of {name}",
        description=f"All rows of the source's table {name}. Internal: nobody can ask for it.",
        source=name,
        order_by="1",
        columns=tuple(Column(column, kind, column, "") for column, kind in columns.items()),
        filters=(),
        access={},
    )


#: The tables that recurring exports read, with the columns that their datasets mention.
TABLES: tuple[Dataset, ...] = (
    _table("campaigns", id=UUID, name=TEXT, owner_id=UUID, assistant_used=TEXT, status=TEXT),
    _table(
        "contacts",
        id=UUID,
        campaign_id=UUID,
        external_contact_id=TEXT,
        name=TEXT,
        business_name=TEXT,
        phone=TEXT,
        email=TEXT,
        outcome=TEXT,
        attempt_count=INTEGER,
        last_attempt_at=TIMESTAMP,
        completed_at=TIMESTAMP,
        created_at=TIMESTAMP,
    ),
    _table(
        "calls",
        id=UUID,
        contact_id=UUID,
        status=TEXT,
        started_at=TIMESTAMP,
        ended_at=TIMESTAMP,
        ended_reason=TEXT,
        cost_usd=decimal(38, 10),
        recording_url=TEXT,
        transcript_json=JSON,
    ),
    _table("survey_answers", contact_id=UUID, question=INTEGER, answer=TEXT),
)


@dataclass(frozen=True)
class Extracts:
    """One set of extracts that belong together."""

    prefix: str
    taken_at: datetime
    files: dict[str, ExportFile]


def take_extracts(engine: Engine, attempt: Attempt) -> Extracts:
    """Writes a new set of extracts. Raises Transient or Broken; then nothing of it stays."""
    destination = engine.destination(_DESTINATION)
    files: dict[str, ExportFile] = {}
    prefix = f"{_root(engine)}{datetime.now(UTC):{_TAKEN_AT}}-{uuid.uuid4().hex[:8]}/"
    try:
        with engine.source.snapshot() as snapshot, attempt.stopping_with(snapshot.connection.cancel_safe):
            for table in TABLES:
                attempt.rows_done = 0
                files[table.name] = take_table(engine, prefix, table, snapshot, attempt)
        document = {
            "taken_at": snapshot.taken_at.isoformat(),
            "files": {name: asdict(file) for name, file in files.items()},
        }
        publish_manifest(destination, prefix, json.dumps(document).encode())
    except BaseException:
        destination.clean(prefix)
        raise
    return Extracts(prefix, snapshot.taken_at, files)


def take_table(
    engine: Engine,
    prefix: str,
    table: Dataset,
    snapshot: Snapshot,
    attempt: Attempt,
    *,
    filters: Mapping[str, str] = MappingProxyType({}),
) -> ExportFile:
    """Writes the table's rows to a file of its own below `prefix`, and sees that it is there. Raises Transient,
    Broken."""
    destination = engine.destination(_DESTINATION)
    form = engine.format("parquet")
    plan = Plan(
        request=ExportRequest(dataset=table.name, requested_by="", format=form.name, recurring=True),
        selection=select(table, filters, ()).reaching(Scope.ALL),
        format=form,
        options=form.options.model_validate({}),
        row_limit=None,
    )
    fitted = fit_plan(plan, snapshot)
    context = FileContext("extract", table.name, table.title, table.columns, snapshot.taken_at)
    with stream(engine.source, snapshot, fitted, attempt) as rows:
        key = f"{prefix}{table.name}.parquet"
        [file] = write_files(rows, plan, context, attempt, destination=destination, key=key)
    destination.confirm(file.key, bytes=file.bytes, sha256=file.sha256)
    return file


def latest_extracts(engine: Engine) -> Extracts:
    """The newest complete set. Raises Broken where there is none."""
    destination = engine.destination(_DESTINATION)
    manifests = [item.key for item in destination.list(_root(engine)) if item.key.endswith(f"/{MANIFEST}")]
    if not manifests:
        raise Broken("there are no extracts yet: run extract_job first")
    newest = max(manifests)
    document = json.loads(b"".join(destination.read(newest)))
    return Extracts(
        prefix=newest.removesuffix(MANIFEST),
        taken_at=datetime.fromisoformat(document["taken_at"]),
        files={name: ExportFile.of(file) for name, file in document["files"].items()},
    )


def old_extracts(engine: Engine) -> list[str]:
    """The prefixes of the sets that are older than EXPORT_CLEANUP_DAYS, and of those left unfinished for a day."""
    sets: dict[str, set[str]] = {}
    for item in engine.destination(_DESTINATION).list(_root(engine)):
        folder, _, name = item.key.rpartition("/")
        sets.setdefault(f"{folder}/", set()).add(name)
    now = datetime.now(UTC)
    old = []
    for prefix, names in sets.items():
        days = engine.settings.cleanup_days if MANIFEST in names else 1
        if now - _taken_at(prefix) > timedelta(days=days):
            old.append(prefix)
    return old


def active_campaigns(engine: Engine) -> list[str]:
    """The ids of the campaigns that are active in the newest extracts."""
    attempt = Attempt("extracts", 1)
    with _opened(engine, latest_extracts(engine), attempt) as connection, _translated(attempt):
        found = connection.execute("SELECT id::text FROM campaigns WHERE status = 'active' ORDER BY id").fetchall()
    return [row[0] for row in found]


@contextmanager
def open_extracts(engine: Engine, plans: Sequence[Plan], attempt: Attempt) -> Iterator[Opened]:
    """The plans' rows out of the newest extracts: the datasets' own SQL, run by DuckDB over the Parquet files."""
    extracts = latest_extracts(engine)
    with (
        _opened(engine, extracts, attempt) as connection,
        attempt.stopping_with(connection.interrupt),
    ):
        yield Opened(extracts.taken_at, tuple(plans), lambda plan: _rows(connection, plan, attempt))


@contextmanager
def _rows(connection: Any, plan: Plan, attempt: Attempt) -> Iterator[Rows]:
    selection = plan.selection
    columns = sql.SQL(", ").join(
        sql.SQL("{} AS {}").format(sql.SQL(_selected(column)), sql.Identifier(name))
        for column, name in zip(selection.read, selection.read_as, strict=True)
    )
    rows = selection.rows()
    query = sql.SQL("SELECT {} {} {}").format(columns, rows, selection.order()).as_string()
    with _translated(attempt):
        [[found]] = connection.sql(sql.SQL("SELECT count(*) {}").format(rows).as_string()).fetchall()
        reader = connection.sql(query).to_arrow_reader(_BATCH_ROWS)
    counted = found if selection.limit is None else min(found, selection.limit)
    yield rows_of(reader, selection, attempt, _translated, estimated=counted)


@contextmanager
def _opened(engine: Engine, extracts: Extracts, attempt: Attempt) -> Iterator[Any]:
    """DuckDB with the extracts as views that look like the source's tables. It spills to disk encrypted, if at all.
    Raises Transient where the store cannot be read."""
    import duckdb

    connection = duckdb.connect(
        config={
            "memory_limit": "400MB",
            "temp_file_encryption": "true",
            "TimeZone": "UTC",
            "autoinstall_known_extensions": "false",
            # A handle on a file of the store has one position, which threads would share.
            "threads": "1",
        }
    )
    try:
        connection.register_filesystem(engine.destination(_DESTINATION).filesystem())
        for table in TABLES:
            address = extracts.files[table.name].url
            columns = sql.SQL(", ").join(
                sql.SQL("{name}::{type} AS {name}").format(
                    name=sql.Identifier(column.name), type=sql.SQL(_DUCKDB_TYPES[column.type.kind])
                )
                for column in table.columns
            )
            view = sql.SQL("CREATE VIEW {} AS SELECT {} FROM read_parquet({})")
            with _translated(attempt):
                connection.execute(view.format(sql.Identifier(table.name), columns, sql.Literal(address)).as_string())
        yield connection
    finally:
        connection.close()


_DUCKDB_TYPES = {
    Kind.UUID: "uuid",
    Kind.TEXT: "text",
    Kind.INTEGER: "bigint",
    Kind.DECIMAL: "decimal(38, 10)",
    Kind.TIMESTAMP: "timestamptz",
    Kind.JSON: "json",
}


def _selected(column: Column) -> str:
    """As from the source: what `rows_of` expects as text is selected as text."""
    as_text = column.type.kind in (Kind.UUID, Kind.DECIMAL, Kind.JSON)
    return SELECTED_AS[Kind.UUID]["uuid"].format(column.sql) if as_text else column.sql


@contextmanager
def _translated(attempt: Attempt) -> Iterator[None]:
    """DuckDB's errors as ours. It dresses an interrupt up as an error of its own: the flag is asked first."""
    import duckdb

    try:
        yield
    except (duckdb.Error, RuntimeError, OSError) as error:
        attempt.check()
        raise Transient(f"the extracts could not be read ({type(error).__name__})") from error


def _root(engine: Engine) -> str:
    prefix = engine.settings.s3_prefix.strip("/")
    return f"{prefix}/extracts/" if prefix else "extracts/"


def _taken_at(prefix: str) -> datetime:
    found = re.search(r"/(\d{8}T\d{6}Z)-[0-9a-f]{8}/$", f"/{prefix}")
    # What is not ours to name is not ours to delete.
    return datetime.strptime(found[1], _TAKEN_AT).replace(tzinfo=UTC) if found else datetime.now(UTC)
