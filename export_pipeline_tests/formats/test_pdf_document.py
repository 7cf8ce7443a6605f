"""What a report says of itself, before it is drawn."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from export_pipeline.formats._figures import Figures, Series
from export_pipeline.formats._pdf_branding import Branding, load_brand
from export_pipeline.formats._pdf_charts import Style
from export_pipeline.formats._pdf_document import (
    Draft,
    chart_block,
    detailed_results,
    executive_summary,
    facts,
    subject_label,
    subject_labels,
)
from export_pipeline.formats._pdf_numbers import p_text
from export_pipeline.formats._pdf_table import make_table
from export_pipeline.formats._pdf_words import WORDS, Language
from export_pipeline.model.dataset import FLOAT, Column
from export_pipeline.model.format import FileContext
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Measure
from export_pipeline_tests.formats.tables import SNAPSHOT_AT


def draft(language: Language = "en", **filters: str) -> Draft:
    context = FileContext("0192-id", "calls", "Calls", (), SNAPSHOT_AT, filters)
    return Draft(Style(WORDS[language], Branding()), context, "UTC")


def panel(rows: int, total: int) -> Series:
    """The first rows of an experiment's metric."""
    chart = Chart("Rate: m", ChartKind.BAR, "variant", Measure("", Aggregate.MEAN, "rate"), interval=("low", "high"))
    return Series(chart, ("a",) * rows, (0.5,) * rows, ((0.25, 0.75),) * rows, total)


@pytest.mark.parametrize(
    ("language", "filters", "expected"),
    [
        ("en", {"date_from": "2008-05-05", "date_to": "2008-05-10"}, "5 May 2008 – 10 May 2008"),
        (
            "de",
            {"date_from": "2008-05-05", "date_to": "2008-05-10", "timezone": "Asia/Tokyo"},
            "5. Mai 2008 – 10. Mai 2008 (Asia/Tokyo)",
        ),
        ("en", {"date_range": "today", "date_from": "2008-05-05", "date_to": "2008-05-05"}, "5 May 2008"),
        ("en", {"date_from": "2008-05-05"}, "from 5 May 2008"),
        ("es", {"date_to": "2008-05-10"}, "hasta el 10 de mayo de 2008"),
        (
            "en",
            {"date_from": "2008-05-05T10:30", "date_to": "2008-05-06T10:30+02:00"},
            "5 May 2008, 10:30 – 6 May 2008, 10:30 UTC+02:00",
        ),
        ("en", {"date_from": "2008-05-05T10:30:01"}, "from 2008-05-05T10:30:01"),
    ],
)
def test_period_when_dates_were_asked_for_then_as_they_were(
    language: Language, filters: dict[str, str], expected: str
) -> None:
    made = draft(language, **filters)
    period, rows = facts(made, 1, ("", [], 0), [])
    assert period == [made.words.period, expected]
    assert rows == [made.words.rows, "1"]


@pytest.mark.parametrize(
    ("bucket", "labels", "title"),
    [
        (Bucket.WEEK, ("2010-11-01", "2010-11-08"), "Calls per day (hier je Woche)"),
        (Bucket.MONTH, ("2010-11", "2010-12"), "Calls per day (hier je Monat)"),
    ],
)
def test_chart_when_its_days_are_drawn_as_weeks_or_months_then_said_and_the_period_is_of_days(
    bucket: Bucket, labels: tuple[str, ...], title: str
) -> None:
    chart = Chart("Calls per day", ChartKind.LINE, "at", Measure("", Aggregate.COUNT), bucket)
    series = Series(chart, labels, (1, 2), period=(date(2010, 11, 3), date(2010, 12, 24)))
    made = draft("de")

    assert chart_block(made, series, 482)["title"] == title
    assert facts(made, 3, ("", [], 0), [Figures(3, (), (series,))])[0][1] == "3. November 2010 – 24. Dezember 2010"


@pytest.mark.parametrize(("value", "titles"), [(0, ["Mean by source"]), (3, ["Found by source", "Mean by source"])])
def test_charts_when_all_sums_are_0_then_no_heading_without_a_chart(value: int, titles: list[str]) -> None:
    series = [
        Series(Chart(f"{name} by source", ChartKind.BAR, "source", Measure("", aggregate, "found")), ("a",), (value,))
        for name, aggregate in (("Found", Aggregate.SUM), ("Mean", Aggregate.MEAN))
    ]
    made = draft()

    executive_summary(made, Figures(1, (), tuple(series)))

    assert [item["title"] for block in made.blocks if block["type"] == "charts" for item in block["items"]] == titles


@pytest.mark.parametrize("report", ["executive_summary", "detailed_results"])
def test_charts_when_more_panels_than_are_drawn_then_every_report_says_how_many(report: str) -> None:
    made, figures = draft(), Figures(65, (), tuple(panel(1, 1) for _ in range(6)), panels_left_out=1_035)

    if report == "executive_summary":
        executive_summary(made, figures)
    else:
        table = make_table(pl.DataFrame({"x": [0.5]}), (Column("x", FLOAT, "sql", "x"),), WORDS["en"], "UTC")
        detailed_results(made, figures, table, 1)

    notes = [note for block in made.blocks if block["type"] == "notes" for note in block["items"]]
    own = ["Charts left out here: 2; the detailed results have them."] if report == "executive_summary" else []
    assert notes[: len(own) + 1] == [
        *own,
        "Charts left out of all reports: 1,035; the data file (CSV, Parquet, XLSX …) has their rows.",
    ]


@pytest.mark.parametrize(
    ("language", "shown", "total", "title"),
    [
        ("en", 15, 1_020, "Rate: m (first 15 of 1,020)"),
        ("de", 1, 3, "Rate: m (erste von 3)"),
        ("pt", 2, 3, "Rate: m (primeiras 2 de 3)"),
        ("es", 1, 3, "Rate: m (primera de 3)"),
        ("es", 3, 3, "Rate: m"),
    ],
)
def test_chart_when_a_panel_has_more_rows_than_it_draws_then_says_of_how_many(
    language: Language, shown: int, total: int, title: str
) -> None:
    assert chart_block(draft(language), panel(shown, total), 236)["title"] == title


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_table_when_a_float_is_no_number_then_a_dash(value: float) -> None:
    table = make_table(pl.DataFrame({"x": [value, 0.5]}), (Column("x", FLOAT, "sql", "x"),), WORDS["de"], "UTC")
    assert table.rows == (("–",), ("0,5",))


@pytest.mark.parametrize(
    "given", [["#111111", "#222222"], ["#1F3A5F", "#5b8db8"], [f"#0000{number}" for number in range(10, 22)]]
)
def test_branding_when_it_has_few_colours_then_more_behind_them_and_none_twice(
    tmp_path: Path, given: list[str]
) -> None:
    (tmp_path / "branding.toml").write_text(f"[colours]\nseries = {given}\n")

    found = load_brand(tmp_path).branding.colours.series

    assert found[: len(given)] == given
    assert len(found) == len({colour.lower() for colour in found}) == max(7, len(given))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1_234_567.0, "1.234.567"),
        (-1_234_567.89, "−1.234.568"),
        (999_999.5, "1.000.000"),
        (123_456.7, "123.457"),
        (1.5, "1,5"),
        (-0.00001234, "−1,234e−05"),
        (1.5e16, "1,5e+16"),
    ],
)
def test_table_when_a_float_is_large_or_small_then_as_the_language_writes_it(value: float, said: str) -> None:
    table = make_table(pl.DataFrame({"x": [value, 0.5]}), (Column("x", FLOAT, "sql", "x"),), WORDS["de"], "UTC")
    assert table.rows == ((said,), ("0,5",))


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (0.0497, "p = 0,0497"),
        (0.04999, "p = 0,04999"),
        (0.0503, "p = 0,0503"),
        (0.05, "p = 0,050"),
        (0.0512, "p = 0,051"),
        (0.0009, "p < 0,001"),
    ],
)
def test_p_when_near_the_level_of_significance_then_seen_on_which_side(p: float, said: str) -> None:
    assert p_text(WORDS["de"], p) == said


@pytest.mark.parametrize("name", ["", "  ", "\n"])
def test_subject_when_its_name_is_empty_then_said_so(name: str) -> None:
    assert subject_label(WORDS["en"], name) == "(none)"


WAVE = "Customer satisfaction survey 2026, second quarter, northern region: {} wave of calls"


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["Loans", "Cards"], ["Loans", "Cards"]),
        ([WAVE.format("first"), "Loans"], [WAVE[:59] + "…", "Loans"]),
        (
            [WAVE.format("first"), WAVE.format("second"), "Loans"],
            ["Customer sat…first wave o…", "Customer sat…second wave…", "Loans"],
        ),
        (["W" * 70 + "1", "W" * 70 + "2"], ["W" * 12 + "…" + "W" * 12 + "1", "W" * 12 + "…" + "W" * 12 + "2"]),
        (["A\nB", "A B", "C"], ["1. A B", "2. A B", "3. C"]),
        (["", "(none)"], ["1. (none)", "2. (none)"]),
    ],
)
def test_subjects_when_names_begin_alike_then_told_apart_in_charts_too(names: list[str], labels: list[str]) -> None:
    assert subject_labels(WORDS["en"], names) == labels
    assert len({label[:26] for label in labels}) == len(labels)
