"""Conditions, order and the record limit through whole exports: packages, manifests, what is cut off, and indexes."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from typing import Any

import openpyxl
import psycopg
import pytest
from psycopg import sql

from export_pipeline.cli.output import job_document
from export_pipeline.embedded.postgres import Postgres
from export_pipeline.embedded.sample import LAST_CAMPAIGN, SHOWN_CAMPAIGN
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.order import make_order
from export_pipeline.flow.query import select
from export_pipeline.flow.request import file_request
from export_pipeline.model.access import Scope
from export_pipeline.model.dataset import Dataset
from export_pipeline.model.errors import Rejected
from export_pipeline.model.job import ExportJob, ExportRequest
from export_pipeline.orchestration.reporting import job_metadata
from export_pipeline.registry import load_parts
from export_pipeline_tests.conftest import fresh_database
from export_pipeline_tests.flow.test_export import contents, table
from export_pipeline_tests.flow.things import THINGS

DATASETS = load_parts("export_pipeline.datasets", "DATASET", Dataset)


def export(engine: Engine, asked: ExportRequest, **changes: Any) -> ExportJob:
    request = replace(asked, **{"destination": "local", **changes})
    return run_export(engine, file_request(engine, request))


def manifest_of(engine: Engine, job: ExportJob) -> dict[str, Any]:
    folder = job.files[0].key.rpartition("/")[0]
    document: dict[str, Any] = json.loads(b"".join(engine.destination("local").read(f"{folder}/manifest.json")))
    return document


def rows_of(engine: Engine, job: ExportJob, name: str) -> list[dict[str, str]]:
    with zipfile.ZipFile(io.BytesIO(contents(engine, job))) as archive:
        return list(csv.DictReader(io.StringIO(archive.read(name).decode("utf-8-sig"), newline="")))


def test_export_when_it_has_conditions_and_an_order_then_file_and_manifest_show_them(
    engine: Engine, asked: ExportRequest
) -> None:
    conditions = ("price between 500 and 1500", "status in new,contacted and email ends_with '@example.com'")
    job = export(
        engine, asked, dataset="leads", filters={}, conditions=conditions, sort=("price desc", "id"), format="csv"
    )
    rows = table(engine, job)
    assert rows and all(500 <= float(row["price"]) <= 1500 for row in rows)
    assert {row["status"] for row in rows} == {"new", "contacted"} and all(row["email"] for row in rows)
    assert rows == sorted(rows, key=lambda row: (-float(row["price"]), row["id"]))
    manifest = manifest_of(engine, job)
    told = "(status in new,contacted and email ends_with (not told))"
    assert manifest["conditions"] == ["price between 500,1500", told]
    assert manifest["sort"] == ["price desc", "id"] and manifest["truncated"] is None
    with psycopg.connect(engine.settings.database_url.get_secret_value()) as connection:
        [(details,)] = connection.execute("SELECT detail FROM exports.audit_log WHERE action = 'request'").fetchall()
    assert details["conditions"] == ["email", "price", "status"]
    assert "@example.com" not in json.dumps(details) + json.dumps(manifest)


def test_package_when_a_condition_narrows_what_is_referred_to_then_also_what_refers_to_it(
    engine: Engine, asked: ExportRequest
) -> None:
    changes = {
        "dataset": "contacts,calls",
        "format": "zip",
        "filters": {"campaign_id": SHOWN_CAMPAIGN},
        "conditions": ("contacts.attempt_count gte 3 or contacts.outcome eq completed", "calls.status ne busy"),
        "sort": ("contacts.attempt_count desc", "calls.started_at desc"),
    }
    job = export(engine, asked, **changes)
    contacts, calls = rows_of(engine, job, "contacts.csv"), rows_of(engine, job, "calls.csv")
    assert contacts and all(int(row["attempt_count"]) >= 3 or row["outcome"] == "completed" for row in contacts)
    assert calls and {row["contact_id"] for row in calls} <= {row["id"] for row in contacts}
    assert "busy" not in {row["status"] for row in calls}
    counts = [int(row["attempt_count"]) for row in contacts]
    assert counts == sorted(counts, reverse=True)
    parts = manifest_of(engine, job)["datasets"]
    assert [part["conditions"] for part in parts] == [
        ["(contacts.attempt_count gte 3 or contacts.outcome eq completed)"],
        ["calls.status ne busy"],
    ]
    with zipfile.ZipFile(io.BytesIO(contents(engine, job))) as archive:
        readme = archive.read("README.txt").decode()
    assert "where = calls.status ne busy; sort = started_at desc" in readme


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"conditions": ("status eq busy",)}, "write the dataset before each column, .* as in contacts.COLUMN"),
        ({"conditions": ("leads.status eq new",)}, "write the dataset before each column"),
        ({"conditions": ("calls.status eq busy or contacts.outcome eq x",)}, "the same in one condition"),
        ({"conditions": ("calls.color eq red",)}, "calls has no column 'color'"),
        ({"conditions": ("calls.status = busy",)}, "there is no operator '='"),
        ({"sort": ("started_at",)}, "--sort started_at: with several datasets write the dataset"),
        ({"sort": ("calls.color",)}, "calls has no column 'color'"),
        ({"truncate": True}, "truncate goes with one dataset"),
        ({"filters": {"calls.properties": "a"}}, "calls has no filter 'properties'"),
    ],
    ids=str,
)
def test_package_when_narrowed_wrongly_then_refused(
    engine: Engine, asked: ExportRequest, changes: dict[str, Any], said: str
) -> None:
    request = replace(asked, **{"dataset": "contacts,calls", "format": "zip", **changes})
    with pytest.raises(Rejected, match=said):
        make_order(engine, request)


def test_package_when_of_one_dataset_then_columns_need_no_name_before_them(
    engine: Engine, asked: ExportRequest
) -> None:
    changes = {
        "dataset": "contacts",
        "format": "zip",
        "conditions": ("outcome eq completed",),
        "sort": ("contacts.id",),
    }
    rows = rows_of(engine, export(engine, asked, **changes), "contacts.csv")
    assert {row["outcome"] for row in rows} == {"completed"}
    assert rows == sorted(rows, key=lambda row: row["id"])


@pytest.fixture
def small(engine: Engine) -> Engine:
    """An engine that allows 20 rows."""
    return replace(engine, settings=engine.settings.model_copy(update={"max_records": 20}))


def test_export_when_too_many_rows_then_refused_with_their_number_and_the_ways_out(
    small: Engine, asked: ExportRequest, source: psycopg.Connection
) -> None:
    [(count,)] = source.execute("SELECT count(*) FROM leads").fetchall()
    said = rf"^{count:,} rows, and .* \(csv\) may have 20 \(EXPORT_MAX_RECORDS\): .* conditions or limit; .*--truncate"
    with pytest.raises(Rejected, match=said):
        export(small, asked, dataset="leads", filters={})
    with pytest.raises(Rejected, match=r"^30 rows, and"):
        export(small, asked, dataset="leads", filters={"limit": "30"})
    assert list(small.destination("local").list("")) == []
    assert export(small, asked, dataset="leads", filters={"limit": "20"}).rows == 20
    assert export(small, asked, dataset="leads", filters={}, format="parquet").rows == count


def test_export_when_cutting_was_asked_for_then_cut_and_everything_says_so(
    small: Engine, asked: ExportRequest, source: psycopg.Connection
) -> None:
    [(count,)] = source.execute("SELECT count(*) FROM leads").fetchall()
    job = export(small, asked, dataset="leads", filters={}, truncate=True, sort=("price desc",))
    assert job.truncated and job.rows == 20
    told = f"cut off after 20 of {count:,} rows, the most that EXPORT_MAX_RECORDS allows"
    assert manifest_of(small, job)["truncated"] == told
    assert job_document(job)["truncated"] is True
    assert "EXPORT_MAX_RECORDS" in job_metadata(job)["truncated"]
    [(most,)] = source.execute("SELECT max(price)::text FROM leads").fetchall()
    assert table(small, job)[0]["price"] == most, "the first by the order that was asked for"
    again = small.jobs.get(job.id)
    assert again is not None and again.truncated


def test_export_when_more_rows_are_read_than_were_counted_then_refused_and_nothing_is_left(
    small: Engine, asked: ExportRequest
) -> None:
    """A source that shows one connection more than the other, as no snapshot would."""
    rows = "CASE current_setting('application_name') WHEN 'export_pipeline' THEN 10 ELSE 30 END"
    numbers = replace(THINGS, name="numbers", source=f"generate_series(1, {rows}) AS t (n)", columns=THINGS.columns[:1])
    engine = replace(small, datasets={"numbers": numbers})
    with pytest.raises(Rejected, match="more than 20 rows, which were not there when they were counted"):
        export(engine, asked, dataset="numbers", filters={})
    assert list(small.destination("local").list("")) == []


def test_export_when_nothing_had_to_be_cut_then_not_truncated(small: Engine, asked: ExportRequest) -> None:
    for filters in ({"limit": "20"}, {"ids": "6f1c1f6e-2d0a-5c0e-9a44-0f3f0f9f6a10"}):
        job = export(small, asked, dataset="leads", filters=filters, truncate=True)
        assert not job.truncated and manifest_of(small, job)["truncated"] is None


def test_workbook_when_cut_then_its_summary_says_so(small: Engine, asked: ExportRequest) -> None:
    job = export(small, asked, dataset="leads", filters={}, truncate=True, format="xlsx", conditions=("price gt 5",))
    book = openpyxl.load_workbook(io.BytesIO(contents(small, job)), read_only=True)
    said = {str(row[0]): str(row[1]) for sheet in book for row in sheet.iter_rows(values_only=True) if len(row) == 2}
    assert said["truncated"].startswith("cut off after 20 of") and said["where"] == "price gt 5"


def test_package_of_one_dataset_when_cut_then_only_the_files_for_people(small: Engine, asked: ExportRequest) -> None:
    job = export(small, asked, dataset="contacts:csv+parquet", format="zip", truncate=True)
    members = {member.key: member.rows for member in job.files[0].members}
    assert members["contacts.csv"] == 20 < members["contacts.parquet"] and job.truncated
    with zipfile.ZipFile(io.BytesIO(contents(small, job))) as archive:
        assert "Not all rows: cut off after 20 of" in archive.read("README.txt").decode()
        parts = json.loads(archive.read("manifest.json"))["datasets"]
    assert [bool(part["truncated"]) for part in parts] == [True, False]


def test_password_when_a_package_has_one_then_its_conditions_are_told_inside_only(
    engine: Engine, asked: ExportRequest
) -> None:
    from pydantic import SecretStr

    settings = engine.settings.model_copy(update={"zip_passwords": {"board": SecretStr("s3cret")}})
    job = export(
        replace(engine, settings=settings),
        asked,
        dataset="contacts",
        format="zip",
        options={"password": "board"},
        conditions=(f"campaign_id eq {LAST_CAMPAIGN}",),
    )
    assert LAST_CAMPAIGN not in json.dumps(manifest_of(engine, job))


@pytest.fixture(scope="module")
def filled(postgres_server: Postgres) -> Iterator[psycopg.Connection]:
    """The schema with 30,000 leads and 40,000 events, made up and analyzed."""
    with fresh_database(postgres_server) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute((files("export_pipeline.embedded") / "schema.sql").read_bytes())
        connection.execute("INSERT INTO users (email, username, role) VALUES ('a@example.com', 'a', 'admin')")
        connection.execute("INSERT INTO lead_sources (name) VALUES ('Forum')")
        connection.execute(
            "INSERT INTO leads (owner_id, source_id, title, price, status, created_at)"
            " SELECT u.id, s.id, 'lead ' || n, n / 100.0, CASE WHEN n % 500 = 0 THEN 'converted' ELSE 'new' END,"
            " '2010-01-01Z'::timestamptz + n * interval '1 min'"
            " FROM users u, lead_sources s, generate_series(1, 30000) AS n"
        )
        connection.execute(
            "INSERT INTO events (event, distinct_id, timestamp, properties)"
            " SELECT CASE WHEN n % 400 = 0 THEN 'rare' ELSE 'usual' END, 'user-' || n % 5000,"
            " '2010-01-01Z'::timestamptz + n * interval '1 min', '{}' FROM generate_series(1, 40000) AS n"
        )
        connection.execute("ANALYZE")
        yield connection


@pytest.mark.parametrize(
    ("dataset", "filters", "conditions", "index"),
    [
        ("leads", {}, ("status eq converted",), "leads_status"),
        ("leads", {}, ("status in converted,rejected",), "leads_status"),
        ("leads", {}, ("created_at between 2010-01-02 and 2010-01-03",), "leads_created"),
        ("leads", {}, ("created_at gte 2010-01-20T12:00:00Z and price gt 5",), "leads_created"),
        ("leads", {}, ("id eq 6f1c1f6e-2d0a-5c0e-9a44-0f3f0f9f6a10",), "leads_pkey"),
        ("leads", {"status": "converted"}, (), "leads_status"),
        ("leads", {"date_from": "2010-01-05", "date_to": "2010-01-05"}, (), "leads_created"),
        ("leads", {"ids": "6f1c1f6e-2d0a-5c0e-9a44-0f3f0f9f6a10"}, (), "leads_pkey"),
        ("events", {}, ("event eq rare",), "events_event"),
        ("events", {}, ("timestamp gte 2010-01-28 and properties.plan eq pro",), "events_timestamp"),
        ("events", {}, ("distinct_id in user-7,user-8",), "events_distinct_id"),
        ("events", {}, ("id in 6f1c1f6e-2d0a-5c0e-9a44-0f3f0f9f6a10",), "events_pkey"),
        ("events", {"events": "rare", "properties": "plan,amount:decimal(12,2)"}, (), "events_event"),
    ],
)
def test_plan_when_a_condition_is_selective_then_uses_the_index(
    filled: psycopg.Connection, dataset: str, filters: dict[str, str], conditions: tuple[str, ...], index: str
) -> None:
    selection = select(DATASETS[dataset], filters, (), conditions=conditions).reaching(Scope.ALL)
    query = sql.SQL("EXPLAIN SELECT 1 {} {}").format(selection.rows(), selection.order())
    plan = "\n".join(row[0] for row in filled.execute(query).fetchall())
    table_name = "leads" if dataset == "leads" else "events"
    assert f"{index}" in plan and f"Seq Scan on {table_name}" not in plan, plan


def test_plan_when_a_text_range_is_asked_for_then_the_order_is_that_of_code_points(filled: psycopg.Connection) -> None:
    leads = DATASETS["leads"]
    rows = select(leads, {}, (), conditions=("title between 'lead 1' and 'lead 100'",)).reaching(Scope.ALL).rows()
    found = [row[0] for row in filled.execute(sql.SQL("SELECT lead.title {}").format(rows)).fetchall()]
    assert sorted(found) == ["lead 1", "lead 10", "lead 100"]
