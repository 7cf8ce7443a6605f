"""Packages: several datasets in one file, out of one snapshot, with nothing that refers to nothing."""

import csv
import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import psycopg
import pytest
import pyzipper
from pydantic import SecretStr

from export_pipeline.embedded.sample import LAST_CAMPAIGN, SHOWN_CAMPAIGN
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.links import issue_link
from export_pipeline.flow.manage import verify_export
from export_pipeline.flow.order import make_order
from export_pipeline.flow.request import file_request
from export_pipeline.flow.verify import verify_copy
from export_pipeline.model.errors import Forbidden, Rejected, Unproven
from export_pipeline.model.job import ExportJob, ExportRequest, Status
from export_pipeline.model.verification import Verification
from export_pipeline_tests.flow.test_export import contents

THREE = "contacts,calls,campaign_results"


def done(engine: Engine, asked: ExportRequest, **changes: Any) -> ExportJob:
    return run_export(engine, file_request(engine, replace(asked, **{"format": "zip", **changes})))


def opened(engine: Engine, job: ExportJob) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(contents(engine, job)))
    assert archive.testzip() is None
    return archive


def rows_of(archive: zipfile.ZipFile, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(archive.read(name).decode("utf-8-sig"), newline="")))


def test_package_when_exported_then_holds_each_dataset_with_manifest_and_readme(
    engine: Engine, asked: ExportRequest
) -> None:
    job = done(engine, asked, dataset=THREE, options={"profile": "raw"})
    archive = opened(engine, job)
    names = ["contacts.csv", "calls.csv", "campaign_results.csv", "manifest.json", "README.txt"]
    assert archive.namelist() == names
    assert job.verification is Verification.PASSED
    counts = {name: len(rows_of(archive, name)) for name in names[:3]}
    assert {member.key: member.rows for member in job.files[0].members} == counts
    assert job.rows == sum(counts.values())
    manifest = json.loads(archive.read("manifest.json"))
    assert [part["files"] for part in manifest["datasets"]] == [[name] for name in names[:3]]
    readme = archive.read("README.txt").decode()
    assert "calls.csv: Calls" in readme and "transcript" in readme and f"{counts['calls.csv']:,} rows" in readme
    alone = run_export(engine, file_request(engine, replace(asked, dataset="contacts", options={"profile": "raw"})))
    assert archive.read("contacts.csv") == contents(engine, alone), "the same file as without a package"
    assert job.files[0].key.startswith("exports/package/")


def test_package_when_narrowed_by_date_then_no_call_is_without_its_contact(
    engine: Engine, asked: ExportRequest
) -> None:
    span = {"campaign_id": SHOWN_CAMPAIGN, "date_from": "2008-05-15", "date_to": "2008-05-16"}
    archive = opened(engine, done(engine, asked, dataset="campaigns,contacts,calls", filters=span))
    calls, contacts = rows_of(archive, "calls.csv"), rows_of(archive, "contacts.csv")
    campaigns = rows_of(archive, "campaigns.csv")
    assert calls and all("2008-05-15" <= call["started_at"][:10] <= "2008-05-16" for call in calls)
    known = {contact["id"] for contact in contacts}
    assert {call["contact_id"] for call in calls} <= known
    assert {contact["campaign_id"] for contact in contacts} <= {campaign["id"] for campaign in campaigns}
    # On their own the contacts of these days are others: it is the reference that brings them in.
    alone = run_export(engine, file_request(engine, replace(asked, dataset="contacts", filters=span)))
    assert (alone.rows or 0) < len(contacts)


OF_CAMPAIGN = "calls WHERE contact_id IN (SELECT id FROM contacts WHERE campaign_id = %s)"


def test_package_when_a_filter_narrows_what_is_referred_to_then_also_what_refers_to_it(
    engine: Engine, asked: ExportRequest
) -> None:
    filters = {"campaign_id": SHOWN_CAMPAIGN, "contacts.outcome": "completed", "date_from": "2008-05-15"}
    archive = opened(engine, done(engine, asked, dataset="contacts,calls", filters=filters))
    contacts, calls = rows_of(archive, "contacts.csv"), rows_of(archive, "calls.csv")
    assert {contact["outcome"] for contact in contacts} == {"completed"}
    assert calls and {call["contact_id"] for call in calls} <= {contact["id"] for contact in contacts}
    parts = json.loads(archive.read("manifest.json"))["datasets"]
    assert [part["with_referenced"] for part in parts] == [True, False]
    assert "of whatever date, what the other files refer to" in archive.read("README.txt").decode()


def test_package_when_rows_are_named_by_id_then_what_refers_to_them_comes_along(
    engine: Engine, asked: ExportRequest, source: psycopg.Connection
) -> None:
    contact = source.execute(
        "SELECT contact_id::text FROM calls GROUP BY 1 HAVING count(*) > 1 ORDER BY 1 LIMIT 1"
    ).fetchone()
    assert contact is not None
    archive = opened(engine, done(engine, asked, dataset="contacts,calls", filters={"contacts.ids": contact[0]}))
    assert [row["id"] for row in rows_of(archive, "contacts.csv")] == [contact[0]]
    calls = rows_of(archive, "calls.csv")
    assert len(calls) > 1 and {row["contact_id"] for row in calls} == {contact[0]}


def test_package_when_its_manifest_names_another_file_then_nothing_outside_is_written(
    engine: Engine, asked: ExportRequest, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    job = done(engine, asked, dataset="contacts,calls")
    crafted = tmp_path / "crafted.zip"
    with opened(engine, job) as whole, zipfile.ZipFile(crafted, "w") as copy:
        text = whole.read("manifest.json").decode().replace("calls.csv", str(victim))
        copy.writestr("manifest.json", text)
        copy.writestr("contacts.csv", whole.read("contacts.csv"))
        copy.writestr(str(victim), b"overwritten")
    folder = job.files[0].key.rpartition("/")[0]
    manifest = json.loads(b"".join(engine.destination("s3").read(f"{folder}/manifest.json")))
    manifest["files"][0] |= {"name": crafted.name, "sha256": hashlib.sha256(crafted.read_bytes()).hexdigest()}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(Unproven):
        verify_copy(crafted, tmp_path / "manifest.json", engine.formats, password=lambda name: None)
    assert victim.read_text() == "untouched"


def test_package_when_the_source_changes_meanwhile_then_all_files_show_one_moment(
    engine: Engine, asked: ExportRequest, source: psycopg.Connection
) -> None:
    """The calls are deleted once the contacts have been written: the other file does not notice."""
    form = engine.formats["csv"]
    before: list[int] = []

    def write(frame: Any, target: Any, context: Any, options: Any) -> int:
        assert form.write is not None
        written = form.write(frame, target, context, options)
        if not before:
            before.append(source.execute(f"DELETE FROM {OF_CAMPAIGN}", (LAST_CAMPAIGN,)).rowcount)
        return written

    source.execute(f"CREATE TABLE kept AS SELECT * FROM {OF_CAMPAIGN}", (LAST_CAMPAIGN,))
    try:
        changed = replace(engine, formats={**engine.formats, "csv": replace(form, write=write)})
        job = done(changed, asked, dataset="contacts,calls")
        left = source.execute(f"SELECT count(*) FROM {OF_CAMPAIGN}", (LAST_CAMPAIGN,)).fetchone()
    finally:
        source.execute("INSERT INTO calls SELECT * FROM kept ON CONFLICT DO NOTHING")
        source.execute("DROP TABLE kept")
    assert left == (0,)
    assert before[0] > 0
    assert {member.key: member.rows for member in job.files[0].members}["calls.csv"] == before[0]


def test_package_when_ready_made_then_has_its_formats(engine: Engine, asked: ExportRequest) -> None:
    job = done(engine, asked, dataset="comprehensive", filters={}, conditions=("leads.title is_not_null",))
    assert engine.audit.of(job.id)[0].event.detail["conditions"] == ["leads.title"]
    archive = opened(engine, job)
    assert archive.namelist()[:3] == ["leads.csv", "leads.xlsx", "lead_analytics.json"]
    assert {member.rows for member in job.files[0].members[:2]} == {len(rows_of(archive, "leads.csv"))}
    assert json.loads(archive.read("lead_analytics.json"))["data"]
    assert job.verification is Verification.SAMPLED, "a workbook is only sampled"


def test_package_when_a_password_is_asked_for_then_only_it_opens_the_files(
    engine: Engine, asked: ExportRequest, tmp_path: Path
) -> None:
    settings = engine.settings.model_copy(update={"zip_passwords": {"board": SecretStr("s3cret, naïve")}})
    engine = replace(engine, settings=settings)
    job = done(engine, asked, dataset="contacts,calls:parquet", options={"password": "board"})
    data = contents(engine, job)
    assert b"s3cret" not in data and "s3cret" not in repr(engine) + repr(job)
    with pyzipper.AESZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist()[:2] == ["contacts.csv", "calls.parquet"]
        with pytest.raises(RuntimeError, match="password"):
            archive.read("contacts.csv")
        archive.setpassword("s3cret, naïve".encode())
        assert archive.read("calls.parquet")[:4] == b"PAR1"
    assert verify_export(engine, asked.requested_by, job.id) == (job.rows, Verification.PASSED)
    path = tmp_path / job.files[0].key.rpartition("/")[2]
    path.write_bytes(data)
    folder = job.files[0].key.rpartition("/")[0]
    manifest = tmp_path / "manifest.json"
    manifest.write_bytes(b"".join(engine.destination("s3").read(f"{folder}/manifest.json")))
    rows, proven = verify_copy(path, manifest, engine.formats, password=settings.zip_password)
    assert (rows, proven) == (job.rows, Verification.PASSED)
    outside = json.loads(manifest.read_text())
    assert outside["files"][0].keys() == {"name", "bytes", "sha256", "rows", "media_type", "certificate"}
    assert outside["files"][0]["certificate"] is None, "what the rows add up to is inside"
    assert LAST_CAMPAIGN not in manifest.read_text(), "what it was filtered by is inside"
    with pytest.raises(Rejected, match="the password board in EXPORT_ZIP_PASSWORDS is not the one"):
        verify_copy(path, manifest, engine.formats, password=lambda name: b"another")
    with pytest.raises(Rejected, match="the password board in EXPORT_ZIP_PASSWORDS is missing"):
        verify_copy(path, manifest, engine.formats, password=lambda name: None)


def test_workbook_when_several_datasets_are_asked_for_then_a_sheet_each(engine: Engine, asked: ExportRequest) -> None:
    job = done(engine, asked, dataset="contacts,calls", format="xlsx")
    book = openpyxl.load_workbook(io.BytesIO(contents(engine, job)), read_only=True)
    assert book.sheetnames[:2] == ["Contacts", "Calls"]
    counts = [sum(1 for _ in book[name].iter_rows()) - 1 for name in ("Contacts", "Calls")]
    assert [member.rows for member in job.files[0].members] == counts
    assert job.verification is Verification.SAMPLED


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset": "contacts,nothing"}, "no dataset 'nothing'"),
        ({"dataset": "nothing"}, "no dataset 'nothing'; there are: .*comprehensive"),
        ({"dataset": "contacts,contacts"}, "names contacts twice; .*'contacts as first,contacts as second'"),
        ({"dataset": "contacts as a,calls as a"}, "names a twice; .* 'contacts as first,contacts as second'"),
        ({"dataset": "contacts as a,calls,calls"}, "names calls twice; .* calls:csv.xlsx; .*'calls as first"),
        ({"dataset": "contacts as manifest,calls"}, "as 'manifest': a package has a file of that name itself"),
        ({"dataset": "contacts as readme,calls"}, "as 'readme': a package has a file of that name itself"),
        ({"dataset": "calls as status,contacts"}, "as 'status': calls has a column of that name"),
        ({"dataset": "comprehensive,calls"}, "comprehensive is a ready-made package, which stands alone.*leads,lead_a"),
        ({"dataset": "comprehensive:csv"}, "comprehensive is a ready-made package, which stands alone"),
        ({"format": "xlsx", "options": {"max_file_rows": "10"}}, "several datasets are one file: max_file_rows"),
        ({"format": "xlsx", "options": {"max_file_bytes": "90000"}}, "several datasets are one file: max_file_rows"),
        ({"dataset": "contacts as calls,contacts"}, "as 'calls': a name in a package begins with"),
        ({"dataset": "contacts as leads.status,contacts"}, "as 'leads.status': a name in a package begins with"),
        ({"dataset": "contacts as ,contacts"}, "no dataset 'contacts as'"),
        ({"dataset": "contacts as mine"}, "only a dataset of several"),
        ({"dataset": "contacts:docx"}, "no format 'docx'"),
        ({"dataset": "contacts:zip"}, "cannot hold a package"),
        ({"dataset": "contacts:csv+csv"}, "once each"),
        ({"options": {"files": ""}}, "name its formats"),
        ({"options": {"password": "hunter2!"}}, "never a password itself; there is none of that name$"),
        ({"filters": {"campaign_id": LAST_CAMPAIGN, "ids": LAST_CAMPAIGN}}, "say of which, as in contacts.ids"),
        ({"options": {"max_file_rows": "10"}}, "one file"),
        ({"options": {"compression_level": "10"}}, "option compression_level"),
        ({"options": {"profile": "nope"}}, "option profile='nope': Input should be 'spreadsheet' or 'raw'"),
        ({"options": {"profile": "raw", "files": "parquet"}}, "the option profile is for CSV and TSV files, and none"),
        ({"format": "parquet"}, "parquet holds one dataset; take one of .*xlsx.*zip"),
        (
            {"format": "xlsx", "dataset": "contacts:csv,calls"},
            r"\(contacts:csv\) names the formats .* format zip,",
        ),
        (
            {"format": "xlsx", "dataset": "comprehensive", "filters": {}},
            r"^comprehensive \(leads:csv\+xlsx, lead_analytics:json\) names the formats of its files, and xlsx is one",
        ),
        ({"filters": {"campaign_id": LAST_CAMPAIGN, "limit": "5"}}, "limit goes with one dataset"),
        ({"filters": {"campaign_id": LAST_CAMPAIGN, "color": "red"}}, "has a filter 'color'"),
        ({"filters": {"campaign_id": LAST_CAMPAIGN, "calls.color": "red"}}, "calls has no filter 'color'"),
        ({"columns": ("id",)}, "with several datasets .* as in contacts.id"),
        ({"columns": ("upper(calls.status) as s",)}, r"with several datasets .* as in calls.upper\(status\) as s$"),
        ({"columns": ("contacts.color",)}, "contacts has no column 'color'"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_package_when_it_cannot_be_then_refused_before_anything_is_read(
    engine: Engine, asked: ExportRequest, changes: dict[str, Any], said: str
) -> None:
    request = replace(asked, **{"dataset": "contacts,calls", "format": "zip", **changes})
    with pytest.raises(Rejected, match=said):
        file_request(engine, request)
    assert engine.jobs.newest() == []


@pytest.mark.parametrize(
    ("other", "formats", "said"),
    [
        ("Manifest", "json", "the file Manifest.json of Manifest would have the name of one of the package"),
        ("CALLS", "csv", "the file calls.csv of calls would have the name of one of CALLS.*'calls as first'"),
    ],
)
def test_package_when_two_files_would_have_one_name_in_any_case_then_refused(
    engine: Engine, asked: ExportRequest, other: str, formats: str, said: str
) -> None:
    own = {**engine.datasets, other: replace(engine.datasets["contacts"], name=other)}
    request = replace(asked, dataset=f"{other}:{formats},calls", format="zip")
    with pytest.raises(Rejected, match=said):
        make_order(replace(engine, datasets=own), request)
    assert len(make_order(replace(engine, datasets=own), replace(request, dataset=f"{other}:parquet,calls")).plans) == 2


def test_package_when_filters_and_columns_name_a_dataset_then_they_are_for_it_alone(
    engine: Engine, asked: ExportRequest
) -> None:
    filters = {"campaign_id": LAST_CAMPAIGN, "calls.status": "completed"}
    columns = ("calls.id", "calls.contact_id", "calls.status")
    job = done(engine, asked, dataset="contacts,calls", filters=filters, columns=columns)
    archive = opened(engine, job)
    calls = rows_of(archive, "calls.csv")
    assert {tuple(row) for row in calls} == {("id", "contact_id", "status")}
    assert {row["status"] for row in calls} == {"completed"}
    assert len(rows_of(archive, "contacts.csv")[0]) > 10
    order = make_order(engine, job.request, job.created_at)
    assert [dict(plan.request.filters) for plan in order.plans] == [
        {"campaign_id": LAST_CAMPAIGN},
        {"campaign_id": LAST_CAMPAIGN, "status": "completed"},
    ]


def test_package_when_one_dataset_is_not_for_the_role_then_refused(engine: Engine, asked: ExportRequest) -> None:
    request = replace(asked, dataset="calls,user_activity", format="zip", filters={})
    with pytest.raises(Forbidden, match="may not export user_activity"):
        file_request(engine, replace(request, requested_by="operator@example.com"))


def test_package_when_asked_for_by_an_owner_then_holds_their_own_rows_only(
    engine: Engine, asked: ExportRequest, source: psycopg.Connection
) -> None:
    job = done(engine, asked, dataset="campaigns,contacts,calls", filters={}, requested_by="manager@example.com")
    archive = opened(engine, job)
    owned = {
        str(row[0])
        for row in source.execute(
            "SELECT c.id FROM campaigns c JOIN users u ON u.id = c.owner_id WHERE u.email = 'manager@example.com'"
        )
    }
    assert {row["id"] for row in rows_of(archive, "campaigns.csv")} == owned
    assert {row["campaign_id"] for row in rows_of(archive, "contacts.csv")} <= owned
    assert {row["campaign_id"] for row in rows_of(archive, "calls.csv")} <= owned
    assert issue_link(engine, "manager@example.com", job.id).url
    assert job.status is Status.COMPLETED


def test_package_when_of_one_dataset_then_its_filters_and_columns_hold(engine: Engine, asked: ExportRequest) -> None:
    filters = {"campaign_id": LAST_CAMPAIGN, "contacts.outcome": "completed", "limit": "5"}
    job = done(engine, asked, dataset="contacts:csv+jsonl", filters=filters, columns=("id", "contacts.outcome"))
    archive = opened(engine, job)
    rows = rows_of(archive, "contacts.csv")
    assert [tuple(row) for row in rows] == [("id", "outcome")] * 5
    assert {row["outcome"] for row in rows} == {"completed"}
    assert [json.loads(line) for line in archive.read("contacts.jsonl").splitlines()] == rows


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"filters": {"campaign_id": LAST_CAMPAIGN, "outcom": "completed"}}, "no filter 'outcom'"),
        ({"filters": {"campaign_id": LAST_CAMPAIGN, "calls.status": "completed"}}, "no filter 'calls.status'"),
        ({"columns": ("id", "color")}, "no column 'color'"),
        ({"filters": {"campaign_id": LAST_CAMPAIGN, "limit": "0"}}, "limit='0'"),
    ],
    ids=str,
)
def test_package_when_of_one_dataset_that_lacks_what_is_asked_for_then_refused(
    engine: Engine, asked: ExportRequest, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(Rejected, match=said):
        file_request(engine, replace(asked, dataset="contacts", format="zip", **changes))
