"""One dataset more than once in a package or a workbook, each cut with a name and filters of its own."""

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from export_pipeline.embedded.sample import LAST_CAMPAIGN
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.estimate import estimate_export
from export_pipeline.flow.links import issue_link
from export_pipeline.flow.order import make_order
from export_pipeline.flow.package import readme
from export_pipeline.flow.publish import member_name
from export_pipeline.flow.verify import verify_copy
from export_pipeline.model.access import Principal, Role
from export_pipeline.model.errors import Forbidden, Rejected, Unproven
from export_pipeline.model.job import ExportFile, ExportRequest, Outcome, Status
from export_pipeline.model.verification import Verification, Verify
from export_pipeline_tests.datasets.reading import MANAGER
from export_pipeline_tests.flow.test_export import contents
from export_pipeline_tests.flow.test_package import done, opened, rows_of

TWO_CUTS: dict[str, Any] = {
    "dataset": "calls as done,calls as the_rest",
    "filters": {"campaign_id": LAST_CAMPAIGN, "done.status": "completed"},
    "conditions": ("the_rest.status ne completed",),
    "columns": ("done.id", "done.status", "the_rest.id", "the_rest.status"),
}


@pytest.mark.parametrize(("verify", "proven"), [(None, "sampled"), (Verify.FULL, "passed")])
def test_workbook_when_it_holds_one_dataset_twice_then_each_cut_has_its_sheet_and_is_proven(
    engine: Engine, asked: ExportRequest, tmp_path: Path, verify: Verify | None, proven: str
) -> None:
    job = done(engine, asked, format="xlsx", verify=verify, **TWO_CUTS)
    book = openpyxl.load_workbook(io.BytesIO(contents(engine, job)), read_only=True)
    assert book.sheetnames[:2] == ["done (Calls)", "the rest (Calls)"]
    first, second = (list(book[name].iter_rows(values_only=True)) for name in book.sheetnames[:2])
    assert first[0] == second[0] == ("id", "status")
    assert {row[1] for row in first[1:]} == {"completed"} and "completed" not in {row[1] for row in second[1:]}
    assert [(member.key, member.rows) for member in job.files[0].members] == [
        ("done", len(first) - 1),
        ("the_rest", len(second) - 1),
    ]
    assert job.verification == proven
    alone = done(engine, asked, dataset="calls", format="csv", filters={"campaign_id": LAST_CAMPAIGN})
    assert job.rows == alone.rows
    path = tmp_path / job.files[0].key.rpartition("/")[2]
    path.write_bytes(contents(engine, job))
    folder = job.files[0].key.rpartition("/")[0]
    manifest = tmp_path / "manifest.json"
    manifest.write_bytes(b"".join(engine.destination("s3").read(f"{folder}/manifest.json")))
    assert verify_copy(path, manifest, engine.formats, password=lambda name: None) == (job.rows, job.verification)
    swapped(path)
    with pytest.raises(Unproven):
        verify_copy(path, manifest, engine.formats, password=lambda name: None)


def test_workbook_when_cuts_have_long_names_then_its_sheets_tell_them_apart(
    engine: Engine, asked: ExportRequest
) -> None:
    first, second = "a" * 29 + "b", "a" * 29 + "c"
    job = done(engine, asked, dataset=f"campaign_results as {first},campaign_results as {second}", format="xlsx")
    book = openpyxl.load_workbook(io.BytesIO(contents(engine, job)), read_only=True)
    charts = "a" * 24 + " charts"
    assert book.sheetnames == [first, second, "Summary", charts, "a" * 22 + " charts 2"]
    told = [row[1].value for row in book["Summary"].iter_rows(max_col=2) if row[0].value == "Dataset"]
    assert told == ["campaign_results"] * 2


def swapped(path: Path) -> None:
    """Swaps the rows of the first two sheets, and has the manifest say that this is the file."""
    with zipfile.ZipFile(path) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    first, second = "xl/worksheets/sheet1.xml", "xl/worksheets/sheet2.xml"
    parts[first], parts[second] = parts[second], parts[first]
    with zipfile.ZipFile(path, "w") as book:
        for name, data in parts.items():
            book.writestr(name, data)
    manifest = json.loads(path.with_name("manifest.json").read_bytes())
    manifest["files"][0]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name("manifest.json").write_text(json.dumps(manifest))


def test_package_when_it_holds_one_dataset_twice_then_each_cut_is_a_file(engine: Engine, asked: ExportRequest) -> None:
    job = done(engine, asked, **TWO_CUTS)
    archive = opened(engine, job)
    assert {row["status"] for row in rows_of(archive, "done.csv")} == {"completed"}
    assert "completed" not in {row["status"] for row in rows_of(archive, "the_rest.csv")}
    assert "done.csv: done (Calls)" in archive.read("README.txt").decode()
    parts = json.loads(archive.read("manifest.json"))["datasets"]
    assert [(part["dataset"], part["of"]) for part in parts] == [("done", "calls"), ("the_rest", "calls")]
    request = engine.audit.of(job.id)[0].event
    assert "may export calls (as done) of everybody" in request.reason
    assert request.detail["conditions"] == ["the_rest.status"]
    assert job.verification is Verification.PASSED
    assert issue_link(engine, asked.requested_by, job.id).url


def test_package_when_cuts_of_one_dataset_have_too_many_rows_together_then_refused(
    engine: Engine, asked: ExportRequest
) -> None:
    estimate = estimate_export(engine, replace(asked, format="xlsx", **TWO_CUTS))
    assert all(part.rows for part in estimate.parts)
    together = "calls (as done) and calls (as the_rest) have "

    def limited(most: int) -> Engine:
        return replace(engine, settings=engine.settings.model_copy(update={"max_records": most}))

    exact, fewer, few = limited(estimate.rows), limited(estimate.rows - 1), limited(1)
    assert done(exact, asked, format="xlsx", **TWO_CUTS).rows == estimate.rows
    for form in ("xlsx", "zip"):
        with pytest.raises(Rejected) as refused:
            done(fewer, asked, format=form, **TWO_CUTS)
        said = str(refused.value)
        assert said.startswith(f"{together}{estimate.rows:,} rows together") and "--option profile=raw" in said
        assert "limit;" not in said and "truncate" not in said, "neither goes with a package"
        with pytest.raises(Rejected, match=r"^calls \(as done\): [0-9]+ rows, and .* may have 1 of a dataset"):
            done(few, asked, format=form, **TWO_CUTS)
    warned = estimate_export(fewer, replace(asked, format="xlsx", **TWO_CUTS)).warnings
    assert any(text.startswith(f"{together}{estimate.rows:,} rows together") for text in warned)
    assert estimate_export(exact, replace(asked, format="xlsx", **TWO_CUTS)).warnings == estimate.warnings
    for_machines = done(few, asked, **TWO_CUTS, options={"profile": "raw"})
    assert for_machines.rows == estimate.rows
    # One cut in two formats is no more rows, and a cut for machines counts nothing.
    mixed = TWO_CUTS | {"dataset": "calls as done:csv+tsv,calls as the_rest:parquet"}
    assert done(limited(estimate.parts[0].rows), asked, **mixed).status is Status.COMPLETED


def test_package_when_a_dataset_has_another_name_then_its_access_and_owner_stay_the_same(
    engine: Engine, asked: ExportRequest
) -> None:
    with pytest.raises(Forbidden, match="may not export audit_log"):
        done(engine, asked, requested_by=MANAGER, dataset="audit_log as mine,calls", filters={})
    with pytest.raises(Forbidden, match="is not yours"):
        done(engine, asked, requested_by=MANAGER, dataset="campaigns as a,campaigns as b")
    twice = {"dataset": "campaigns as a,campaigns as b", "filters": {}, "options": {"profile": "raw"}}
    everybody, own = done(engine, asked, **twice), done(engine, asked, requested_by=MANAGER, **twice)
    assert 0 < (own.rows or 0) < (everybody.rows or 0)
    assert rows_of(opened(engine, own), "a.csv") == rows_of(opened(engine, own), "b.csv")


CLOSED = "All files show the same moment: what one refers to in another is there."


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("contacts,calls", [CLOSED]),
        ("contacts,calls as a,calls as b", [CLOSED]),
        ("calls as a,calls as b", ["All files show the same moment."]),
        (
            "contacts as a,contacts as b,calls",
            [
                "All files show the same moment.",
                "Not all that calls.csv refers to in contacts need be here: it is only in a.csv, b.csv, which hold "
                "what they were filtered by.",
            ],
        ),
        (
            "campaigns,contacts as a,calls as b,calls as c",
            [
                f"{CLOSED[:-1]}, but for this:",
                "Not all that b.csv refers to in contacts need be here: it is only in a.csv, which holds what it was "
                "filtered by.",
                "Not all that c.csv refers to in contacts need be here: it is only in a.csv, which holds what it was "
                "filtered by.",
            ],
        ),
    ],
)
def test_readme_when_references_are_closed_or_not_then_says_so(
    engine: Engine, asked: ExportRequest, dataset: str, said: list[str]
) -> None:
    order = make_order(engine, replace(asked, dataset=dataset, format="zip"))
    job = engine.jobs.file(asked, requester=Principal("1", "a@b.example", "a", Role.ADMIN), owner_id=None, reason="")
    files = tuple(
        ExportFile(member_name(order, plan), "", bytes=1, sha256="", rows=1, media_type="") for plan in order.plans
    )
    lines = readme(job, order, Outcome(files=files, snapshot_at=job.created_at)).splitlines()
    assert lines[1 : lines.index("manifest.json says the same to programs, with checksums.")] == said


def test_package_when_a_column_is_written_as_the_refusal_advises_then_it_is_computed(
    engine: Engine, asked: ExportRequest
) -> None:
    order = make_order(
        engine, replace(asked, dataset="calls as done,contacts", format="zip", columns=("done.upper(status) as s",))
    )
    assert [column.name for column in order.plans[0].columns] == ["s"]
