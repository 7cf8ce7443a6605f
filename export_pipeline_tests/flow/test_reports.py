"""PDF reports of the sample campaigns, from the request to the file."""

import io
from dataclasses import replace
from pathlib import Path

import psycopg
import pypdfium2
import pytest

from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.request import file_request
from export_pipeline.model.errors import Rejected
from export_pipeline.model.job import ExportRequest


def report(engine: Engine, request: ExportRequest, **options: str) -> tuple[int, str]:
    """The number of rows that the export delivered, and the text of the whole report."""
    job = run_export(engine, file_request(engine, replace(request, format="pdf", options=options)))
    data = b"".join(engine.destination(job.request.destination).read(job.files[0].key))
    with pypdfium2.PdfDocument(io.BytesIO(data)) as document:
        return job.rows or 0, " ".join(" ".join(page.get_textpage().get_text_bounded() for page in document).split())


def test_report_when_branded_by_the_operator_then_figures_are_the_sources(
    engine: Engine, asked: ExportRequest, source: psycopg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "branding.toml").write_text('header = "Board only"\n')
    settings = engine.settings.model_copy(update={"branding_directory": tmp_path})
    found = source.execute(
        "SELECT count(*), count(*) FILTER (WHERE call.status = 'completed'), campaign.name "
        "FROM calls AS call JOIN contacts AS contact ON contact.id = call.contact_id "
        "JOIN campaigns AS campaign ON campaign.id = contact.campaign_id WHERE campaign.id = %s GROUP BY campaign.name",
        (asked.filters["campaign_id"],),
    ).fetchone()
    assert found is not None
    calls, completed, name = found

    rows, text = report(replace(engine, settings=settings), asked)

    for said in (f"{calls:,} Calls", f"{completed:,} Completed calls", f"{completed / calls:.1%}", name, "Board only"):
        assert said in text
    assert f"Rows {rows:,}" in text


def test_report_when_an_answer_is_in_a_script_without_font_then_refused_until_it_is_left_out(
    engine: Engine, asked: ExportRequest
) -> None:
    everything = replace(asked, dataset="survey_outcomes")
    some = replace(everything, columns=("external_contact_id", "outcome", "attempt_count", "q1_answer"))

    with pytest.raises(Rejected, match=r"店 \(U\+5E97\).*column q3_answer, row \d+.*leave the column out"):
        report(engine, everything, report="detailed_results")
    rows, text = report(engine, some, report="detailed_results", language="pt")

    assert rows > 0
    for said in ("Completion rate", "Mean attempts", "not_reached", "external_contact_id", "Resultados detalhados"):
        assert said.casefold() in text.casefold()
