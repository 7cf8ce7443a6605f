"""Renamed and computed columns in files: every format delivers them, and reports go by what the file calls a column."""

import io
from dataclasses import replace
from pathlib import Path

import openpyxl
import polars as pl
import pytest

from export_pipeline.datasets.campaign_results import DATASET
from export_pipeline.flow.content import FileContent
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.publish import read_manifest
from export_pipeline.flow.request import file_request
from export_pipeline.model.dataset import Column, parse_type
from export_pipeline.model.errors import Rejected
from export_pipeline.model.format import Format
from export_pipeline.model.job import ExportRequest
from export_pipeline.model.report import Aggregate
from export_pipeline.model.verification import Verification, Verify
from export_pipeline.registry import load_parts
from export_pipeline_tests.flow.test_reports import report

CHOSEN = (
    "started_at as begun",
    "hour(started_at, 'Europe/Lisbon') as local_hour",
    "upper(call_status) as status",
    "bucket(duration_seconds, 60, 300) as length",
    "round(cost_usd, 2) as costs",
    "coalesce(ended_reason, 'never called') as ended_reason",
)
NAMES = ["begun", "local_hour", "status", "length", "costs", "ended_reason"]
_ALL = load_parts("export_pipeline.formats", "FORMAT", Format)
FORMATS = sorted(name for name, form in _ALL.items() if form.reader)


@pytest.mark.parametrize("name", FORMATS)
def test_columns_when_renamed_and_computed_then_every_format_delivers_and_proves_them(
    engine: Engine, asked: ExportRequest, name: str, tmp_path: Path
) -> None:
    request = replace(asked, columns=CHOSEN, format=name, verify=Verify.FULL, filters={**asked.filters, "limit": "40"})
    job = run_export(engine, file_request(engine, request))
    assert (job.rows, job.verification) == (40, Verification.PASSED)
    found = read_manifest(engine.destination("s3"), job)["columns"]
    assert [column["name"] for column in found] == NAMES
    assert found[0]["of"] == ["started_at"] and found[4]["type"] == "decimal(11,2)"
    assert found[2]["description"] == "Computed: upper(call_status)."
    path = tmp_path / "file"
    path.write_bytes(b"".join(engine.destination("s3").read(job.files[0].key)))
    columns = tuple(Column(item["name"], parse_type(item["type"]), "", "") for item in found)
    form = engine.formats[name]
    assert form.reader is not None
    rows = pl.concat(form.reader.rows(FileContent(path), columns, form.options(), None))
    # A workbook's reader tells texts from numbers by a letter in front.
    said = {value.removeprefix("s") for value in rows["status"]}
    assert said and said <= {"COMPLETED", "NO-ANSWER", "BUSY", "FAILED", "VOICEMAIL", "PENDING"}
    assert {value.removeprefix("s") for value in rows["length"] if value} <= {"<60", "60–300", "≥300"}


def test_package_when_columns_are_renamed_and_computed_then_each_in_its_dataset(
    engine: Engine, asked: ExportRequest
) -> None:
    columns = ("contacts.upper(name) as who", "contacts.id", "calls.id as call", "calls.date(started_at) as day")
    request = replace(asked, dataset="contacts,calls", format="zip", columns=columns, options={"files": "parquet"})
    job = run_export(engine, file_request(engine, request))
    parts = read_manifest(engine.destination("s3"), job)["datasets"]
    assert [[column["name"] for column in part["columns"]] for part in parts] == [["who", "id"], ["call", "day"]]
    with pytest.raises(Rejected, match=r"write the dataset before it, as in contacts\.upper\(name\) as who"):
        file_request(engine, replace(request, columns=("upper(name) as who",)))


def test_report_when_columns_are_renamed_then_goes_by_their_new_names() -> None:
    found = DATASET.report.within({"started_at": "begun", "call_status": "status", "ended_reason": "why"})
    assert {figure.title for figure in found.figures} == {
        "Calls",
        "Completed calls",
        "Completion rate",
        "Contacts never called",
    }
    calls = found.figures[0]
    assert (calls.aggregate, calls.column) == (Aggregate.COUNT, "begun")
    assert found.figures[1].only == ("status", ("completed",))
    assert [chart.by for chart in found.charts] == ["status", "begun", "why"]
    assert {highlight.column for highlight in found.highlights} == {"status"}
    assert (found.bars, found.subject) == ((), "")


def test_workbook_and_pdf_when_columns_are_renamed_then_their_figures_are_the_same(
    engine: Engine, asked: ExportRequest
) -> None:
    # What is computed may have the name of a column that a figure is about: the figure is not about it.
    columns = (
        "call_status as status", "started_at as begun", "upper(campaign_name) as duration_seconds",
        "concat(ended_reason, '') as call_status",
    )  # fmt: skip
    plain = replace(asked, columns=("call_status", "started_at", "campaign_name"), format="xlsx")
    summaries = []
    for request in (plain, replace(plain, columns=columns)):
        job = run_export(engine, file_request(engine, request))
        book = openpyxl.load_workbook(io.BytesIO(b"".join(engine.destination("s3").read(job.files[0].key))))
        cells = {row[0].value: row[1].value for row in book["Summary"].iter_rows() if row[0].value}
        charts = [chart.__class__.__name__ for chart in book["Charts"]._charts]
        summaries.append(({name: value for name, value in cells.items() if name not in ("Export", None)}, charts))
    assert summaries[0][0].keys() == summaries[1][0].keys() and "Completed calls" in summaries[0][0]
    assert {k: v for k, v in summaries[0][0].items() if not k.startswith("As of")} == {
        k: v for k, v in summaries[1][0].items() if not k.startswith("As of")
    }
    assert summaries[0][1] == summaries[1][1] == ["PieChart", "LineChart"]

    rows, text = report(engine, replace(asked, columns=columns))
    assert f"Rows {rows:,}" in text and "Completion rate" in text
    assert summaries[0][0]["Completed calls"] > 0
