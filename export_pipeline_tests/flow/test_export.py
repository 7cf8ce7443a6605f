"""An export from the request to the file, on real parts: what is delivered, recorded and published."""

import csv
import hashlib
import io
import json
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import psycopg
import pytest

from export_pipeline.embedded.sample import LAST_CAMPAIGN, sample_id
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.links import issue_link
from export_pipeline.flow.request import file_request
from export_pipeline.model.errors import Broken, Rejected
from export_pipeline.model.job import ExportJob, ExportRequest, Status

RESULTS = (
    *("name", "business_name", "phone", "call_status", "started_at", "ended_at", "duration_seconds", "ended_reason"),
    *("cost_usd", "recording_url", "transcript_summary", "campaign_name", "assistant_used"),
)
OUTCOMES = (
    *("campaign_id", "contact_id", "external_contact_id", "phone_number", "outcome", "attempt_count"),
    *("last_attempt_at", "completed_at", "q1_answer", "q2_answer", "q3_answer"),
)


def export(engine: Engine, request: ExportRequest) -> ExportJob:
    return run_export(engine, file_request(engine, request))


def contents(engine: Engine, job: ExportJob) -> bytes:
    return b"".join(engine.destination(job.request.destination).read(job.files[0].key))


def table(engine: Engine, job: ExportJob) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(contents(engine, job).decode("utf-8-sig"), newline="")))


def raw(request: ExportRequest, **changes: object) -> ExportRequest:
    return replace(request, options={"profile": "raw"}, **changes)  # type: ignore[arg-type]


def test_export_when_asked_for_then_file_row_and_manifest_agree(engine: Engine, asked: ExportRequest) -> None:
    job = export(engine, asked)
    data = contents(engine, job)
    file = job.files[0]
    assert job.status is Status.COMPLETED
    assert (file.bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    folder = file.key.rpartition("/")[0]
    day = job.created_at.astimezone(UTC)
    assert file.key == f"exports/campaign_results/{day:%Y/%m/%d}/{job.id}/1/export_{job.id}.csv"
    manifest = json.loads(b"".join(engine.destination("s3").read(f"{folder}/manifest.json")))
    assert manifest["rows"] == job.rows == len(table(engine, job))
    assert manifest["verification"] == job.verification == "passed"
    certificate = manifest["files"][0].pop("certificate")
    assert (certificate["rows"], certificate["nulls"]["phone"]) == (job.rows, 0)
    assert manifest["files"] == [
        {
            "name": f"export_{job.id}.csv",
            "bytes": file.bytes,
            "sha256": file.sha256,
            "rows": job.rows,
            "media_type": "text/csv; charset=utf-8",
        }
    ]
    assert [column["name"] for column in manifest["columns"]] == list(RESULTS)
    assert manifest["filters"] == {"campaign_id": LAST_CAMPAIGN}
    assert "@" not in json.dumps(manifest)
    assert job.expires_at is not None and job.completed_at is not None
    assert timedelta(days=7) - timedelta(minutes=1) < job.expires_at - job.completed_at < timedelta(days=7, minutes=1)


def test_campaign_results_when_exported_then_as_the_source_says(
    engine: Engine, asked: ExportRequest, source: psycopg.Connection
) -> None:
    rows = table(engine, export(engine, raw(asked)))
    assert list(rows[0]) == list(RESULTS)
    expected = source.execute(
        """
        SELECT c.name, c.phone, coalesce(k.status, 'PENDING'), k.cost_usd::text, left(k.transcript_json->>'text', 100),
            to_char(k.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        FROM contacts c LEFT JOIN calls k ON k.contact_id = c.id WHERE c.campaign_id = %s
        ORDER BY c.created_at, c.id, k.started_at, k.id
        """,
        (LAST_CAMPAIGN,),
    ).fetchall()
    got = [
        tuple(row[name] for name in ("name", "phone", "call_status", "cost_usd", "transcript_summary", "started_at"))
        for row in rows
    ]
    assert got == [tuple("" if value is None else value for value in row) for row in expected]
    pending = [row for row in rows if row["call_status"] == "PENDING"]
    assert pending and all(row["started_at"] == row["cost_usd"] == row["duration_seconds"] == "" for row in pending)


def test_survey_outcomes_when_exported_then_only_terminal_contacts(engine: Engine, asked: ExportRequest) -> None:
    rows = table(engine, export(engine, raw(asked, dataset="survey_outcomes")))
    assert list(rows[0]) == list(OUTCOMES)
    assert {row["outcome"] for row in rows} == {"completed", "refused", "not_reached", "excluded"}
    assert all(row["campaign_id"] == LAST_CAMPAIGN for row in rows)
    assert any(row["q1_answer"] == "yes" for row in rows)
    assert all(row["external_contact_id"].startswith("00") for row in rows)


def test_export_when_a_range_is_given_then_only_calls_within_and_the_days_in_the_name(
    engine: Engine, asked: ExportRequest
) -> None:
    span = {"campaign_id": LAST_CAMPAIGN, "date_from": "2010-11-09", "date_to": "2010-11-11"}
    job = export(engine, raw(asked, filters=span))
    days = {row["started_at"][:10] for row in table(engine, job)}
    assert days == {"2010-11-09", "2010-11-10", "2010-11-11"}
    assert job.files[0].key.endswith(f"export_{job.id}_2010-11-09_to_2010-11-11.csv")


def test_export_when_the_campaign_is_empty_then_headers_only(
    engine: Engine, asked: ExportRequest, source: psycopg.Connection
) -> None:
    empty = sample_id("campaign", "empty")
    source.execute("INSERT INTO campaigns (id, name, owner_id) SELECT %s, 'Empty', id FROM users LIMIT 1", (empty,))
    try:
        for form in ("csv", "parquet", "xlsx"):
            job = export(engine, replace(asked, filters={"campaign_id": empty}, format=form))
            assert (job.status, job.rows) == (Status.COMPLETED, 0)
            if form == "csv":
                assert contents(engine, job).decode("utf-8-sig") == ",".join(RESULTS) + "\r\n"
    finally:
        source.execute("DELETE FROM campaigns WHERE id = %s", (empty,))


def test_columns_when_chosen_then_only_those_in_that_order(engine: Engine, asked: ExportRequest) -> None:
    rows = table(engine, export(engine, raw(asked, columns=("phone", "name"))))
    assert list(rows[0]) == ["phone", "name"]


def test_parquet_when_exported_then_typed_and_equal_to_csv(
    engine: Engine, asked: ExportRequest, tmp_path: Path
) -> None:
    flat = table(engine, export(engine, raw(asked)))
    path = tmp_path / "export.parquet"
    path.write_bytes(contents(engine, export(engine, replace(asked, format="parquet"))))
    connection = duckdb.connect()
    types = dict(row[:2] for row in connection.execute(f"DESCRIBE SELECT * FROM '{path}'").fetchall())
    assert types["started_at"] == "TIMESTAMP WITH TIME ZONE"
    assert types["cost_usd"] == "DECIMAL(12,4)"
    assert types["duration_seconds"] == "BIGINT"
    rows = connection.execute(f"SELECT name, cost_usd::text, duration_seconds::text FROM '{path}'").fetchall()
    assert [tuple(value or "" for value in row) for row in rows] == [
        (row["name"], row["cost_usd"], row["duration_seconds"]) for row in flat
    ]


def test_link_when_issued_then_it_downloads_the_file_under_its_name(engine: Engine, asked: ExportRequest) -> None:
    job = export(engine, asked)
    link = issue_link(engine, asked.requested_by, job.id)
    with urllib.request.urlopen(link.url) as response:
        assert response.read() == contents(engine, job)
        assert response.headers["Content-Disposition"] == f'attachment; filename="export_{job.id}.csv"'
        assert response.headers["x-amz-server-side-encryption"] == "AES256"
    assert [entry.event.action.value for entry in engine.audit.of(job.id)] == ["request", "start", "completion", "link"]
    assert link.url not in repr(link)
    assert timedelta(minutes=59) < link.expires_at - datetime.now(UTC) <= timedelta(hours=1)


def test_local_when_exported_then_the_file_lies_there_and_no_staged_one(engine: Engine, asked: ExportRequest) -> None:
    job = export(engine, replace(asked, destination="local"))
    root = engine.settings.export_directory
    assert root is not None
    names = sorted(path.name for path in root.rglob("*") if path.is_file())
    assert names == [f"export_{job.id}.csv", "manifest.json"]
    assert issue_link(engine, asked.requested_by, job.id).url.startswith("file://")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dataset": "campain_results"}, r"there is no dataset 'campain_results'; there are: .*\bcampaign_results\b"),
        ({"format": "docx"}, "there is no format 'docx'"),
        ({"destination": "ftp"}, "there is no destination 'ftp'"),
        ({"options": {"colour": "red"}}, "option colour"),
        ({"options": {"profile": "fancy"}}, "option profile"),
        ({"columns": ("phne",)}, "no column 'phne'"),
    ],
)
def test_request_when_wrong_then_refused_and_audited_and_nothing_filed(
    engine: Engine, asked: ExportRequest, changes: dict[str, object], told: str
) -> None:
    with pytest.raises(Rejected, match=told):
        file_request(engine, replace(asked, **changes))  # type: ignore[arg-type]
    assert engine.jobs.newest() == []
    newest = engine.audit.latest(1)[0].event
    assert (newest.action.value, newest.actor) == ("refusal", asked.requested_by)


def test_export_when_over_the_record_limit_then_refused_with_ways_out(engine: Engine, asked: ExportRequest) -> None:
    small = replace(engine, settings=engine.settings.model_copy(update={"max_records": 100}))
    job = file_request(small, asked)
    with pytest.raises(Rejected, match=r"^[0-9,]+ rows.* 100 .*MAX_RECORDS.*date_from.*--truncate.*--format parquet"):
        run_export(small, job)
    ended = engine.jobs.get(job.id)
    assert ended is not None and (ended.status, ended.error_kind) == (Status.FAILED, "invalid")
    for machine in (raw(asked), replace(asked, format="parquet")):
        assert run_export(small, file_request(small, machine)).status is Status.COMPLETED


def test_export_when_the_source_lacks_a_table_then_the_error_names_it(engine: Engine, asked: ExportRequest) -> None:
    dataset = replace(
        engine.datasets["campaign_results"], source="campaigns AS campaign JOIN kontakte AS contact ON true"
    )
    other = replace(engine, datasets={"campaign_results": dataset})
    with pytest.raises(Broken, match='relation "kontakte" does not exist'):
        export(other, asked)
