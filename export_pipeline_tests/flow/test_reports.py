"""PDF reports of the sample campaigns, from the request to the file."""

import io
from dataclasses import replace
from pathlib import Path

import psycopg
import pypdfium2
import pytest

from export_pipeline.datasets.experiment_results import DATASET as EXPERIMENTS
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.request import file_request
from export_pipeline.model.errors import Rejected
from export_pipeline.model.job import ExportRequest
from export_pipeline_tests.datasets.reading import ADMIN, read


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


def test_comparison_when_of_an_experiment_then_its_variants_with_the_datasets_numbers(engine: Engine) -> None:
    results = read(engine, EXPERIMENTS.name).to_dicts()
    prices = [row for row in results if row["experiment"] == "Three prices"]
    request = ExportRequest(EXPERIMENTS.name, ADMIN, {"experiment_id": prices[0]["experiment_id"]})

    rows, text = report(engine, request, report="comparison")

    assert rows == len(prices) == 9
    assert "now reference higher lower" in text
    for row in prices:
        rate, low, high = (row[name] for name in ("conversion_rate", "rate_low", "rate_high"))
        assert f"{rate:.2%} 95%: {low:.2%} – {high:.2%}" in text
        assert row["metric"] in text and f"{row['users']:,}" in text and f"{row['mean']:,.4f}" in text
        if not row["is_control"]:
            mark = " ▲" if row["p_value"] < 0.05 else ""
            low, high = (100 * row[name] for name in ("difference_low", "difference_high"))
            interval = f"95%: {low:.2f} – {high:.2f}".replace("-", "−")
            assert f"{100 * row['difference']:.2f} pp{mark} {interval} p = {row['p_value']:.3f}" in text
            mark = " ▲" if row["mean_p_value"] < 0.05 else ""
            assert f"{row['mean_difference']:.4f}{mark} p = {row['mean_p_value']:.3f}" in text
            assert f"{row['lift']:.1%}" in text and f"{row['mean_lift']:.1%}" in text


def test_comparison_when_of_several_experiments_then_the_best_of_each(engine: Engine) -> None:
    results = read(engine, EXPERIMENTS.name).to_dicts()
    ids = {row["experiment"]: row["experiment_id"] for row in results}
    chosen = ",".join(ids[name] for name in ("Three prices", "Skewed reminder"))
    request = ExportRequest(EXPERIMENTS.name, ADMIN, {"experiment_id": chosen})

    _, text = report(engine, request, report="comparison")

    assert "Best variant reminder against none lower against now" in text
    assert "Best variant reminder against none higher against now" in text
    assert "Skewed reminder: Sample ratio mismatch" in text and "Three prices: Sample ratio: the numbers" in text
    for row in results:
        if (row["variant"], row["metric"]) in {("higher", "retention_7d"), ("lower", "retention_1d")}:
            assert f"{100 * row['difference']:.2f} pp" in text
