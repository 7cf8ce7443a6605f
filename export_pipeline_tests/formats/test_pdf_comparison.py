"""Comparisons of subjects: what differs by more than chance, what does not, and what cannot be compared."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from export_pipeline.formats import _pdf_document as documents
from export_pipeline.formats._figures import Figures, Series
from export_pipeline.formats._pdf_branding import load_brand
from export_pipeline.formats._pdf_comparison import Comparison, compare
from export_pipeline.formats._pdf_side_by_side import comparison
from export_pipeline.formats._pdf_words import Language
from export_pipeline.model.dataset import TEXT, Column, decimal
from export_pipeline.model.errors import Rejected
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Measure, Report
from export_pipeline_tests.formats.test_pdf import FIRST_DAY, REPORT, calls, context, pages, write


def test_comparison_when_rates_differ_then_marked_with_corrected_p() -> None:
    rows = [*calls("A", 400, 200), *calls("B", 400, 260), *calls("C", 400, 208), *calls("Tiny", 1, 1)]

    text = " ".join(pages(write(rows, report="comparison")))

    # z-tests: A and B 4.29, p = 0.000018; A and C 0.57, p = 0.5714; Fisher: A and Tiny 1. Times three, two, one.
    assert "65.0% ▲ 95%: 60.2% – 69.5% p < 0.001" in text
    assert "52.0% 95%: 47.1% – 56.9% p = 1.000" in text
    assert "50.0% 95%: 45.1% – 54.9%" in text
    assert "too few" in text
    assert "Welch" in text and "Holm" in text


@pytest.mark.parametrize(("price", "rows"), [("19.90", (1_000, 900)), ("0.10", (7, 5)), ("9.99", (41, 17))])
def test_comparison_when_all_values_are_equal_then_no_difference(price: str, rows: tuple[int, int]) -> None:
    columns = (Column("shop", TEXT, "sql", "The shop."), Column("price", decimal(10, 2), "sql", "The price."))
    report = Report((Measure("Mean price", Aggregate.MEAN, "price", decimals=2),), subject="shop")
    prices = [(shop, Decimal(price)) for shop, count in zip("AB", rows, strict=True) for _ in range(count)]

    [text, *_] = pages(write(prices, context(columns, report), report="comparison"))

    assert f"95%: {price} – {price} no variation" in text


def test_comparison_when_by_a_timestamp_then_months() -> None:
    rows = [("A", "done", FIRST_DAY + timedelta(days=10 * index), 60 + index, Decimal(1)) for index in range(8)]

    text = " ".join(pages(write(rows, report="comparison", compare_by="at")))

    assert "2010-11" in text and "2010-12" in text and "2011-01" in text


def test_comparison_when_by_a_timestamp_at_the_calendars_end_then_its_month_in_utc() -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    rows = [("A", "done", at, 60, Decimal(1)) for at in (last, FIRST_DAY)]

    text = " ".join(pages(write(rows, report="comparison", compare_by="at", timezone="Europe/Vienna")))

    assert "9999-12" in text


@pytest.mark.parametrize(("names", "count"), [("A", "1"), ("ABCDEFG", "7")])
def test_comparison_when_too_few_or_many_subjects_then_refused(names: str, count: str) -> None:
    rows = [row for name in names for row in calls(name, 2, 1)]

    with pytest.raises(Rejected, match=f"needs 2 to 6 different values of campaign, and the rows have {count}"):
        write(rows, report="comparison")


@pytest.mark.parametrize(
    ("report", "by", "said"),
    [(REPORT, "colour", "no column of the file: colour"), (replace(REPORT, subject=""), "", "hold no subject")],
)
def test_comparison_when_column_unknown_then_refused_with_columns(report: Report, by: str, said: str) -> None:
    with pytest.raises(Rejected, match=f"{said}.*campaign, status, at, seconds, cost"):
        write(calls("A", 2, 1), context(report=report), report="comparison", compare_by=by)


def test_comparison_when_there_are_no_key_figures_then_refused() -> None:
    with pytest.raises(Rejected, match="there are no key figures to compare"):
        write([*calls("A", 2, 1), *calls("B", 2, 1)], context(report=replace(REPORT, figures=())), report="comparison")


@pytest.mark.parametrize(
    ("costs", "bars", "said"),
    [
        (((0, 0), (3, 1)), [(1, 0.75), (1, 0.25)], "A: 0; B: done 75%, busy 25%"),
        (((5, 0), (0, 0)), [(0, 1.0)], "A: done 100%; B: 0"),
        (((0, 0), (0, 0)), [], "A: 0; B: 0"),
    ],
)
def test_mix_when_a_subjects_sums_are_all_0_then_no_bar_of_its_own(
    costs: tuple[tuple[float, ...], ...], bars: list[tuple[int, float]], said: str
) -> None:
    chart = Chart("Cost by outcome", ChartKind.PIE, "status", Measure("Cost", Aggregate.SUM, "cost"))
    figures = tuple(Figures(4, (), (Series(chart, ("done", "busy"), values),)) for values in costs)
    draft = documents.draft(load_brand(None), "en", context(), "UTC")

    comparison(draft, Comparison(("A", "B"), figures, ()))

    [spec] = draft.charts.values()
    drawn = spec["layer"][0]["data"]["values"]
    assert [(bar["row"], bar["end"] - bar["start"]) for bar in drawn] == bars
    [block] = [block for block in draft.blocks if block["type"] == "charts"]
    assert block["items"][0]["alt"] == f"Cost by outcome: {said}"


def test_mix_when_a_number_is_negative_then_bars_for_each_subject() -> None:
    chart = Chart("Balance", ChartKind.PIE, "status", Measure("Cost", Aggregate.SUM, "cost"))
    figures = tuple(Figures(4, (), (Series(chart, ("gains", "losses"), values),)) for values in ((4, 3), (5, -7)))
    draft = documents.draft(load_brand(None), "en", context(), "UTC")

    comparison(draft, Comparison(("A", "B"), figures, ()))

    items = [block["items"][0] for block in draft.blocks if block["type"] == "charts"]
    assert [item["alt"] for item in items] == ["Balance: A: gains 4; losses 3", "Balance: B: gains 5; losses −7"]


def test_trend_when_a_subject_has_none_then_lines_of_the_others_in_their_colours() -> None:
    chart = Chart("Calls per day", ChartKind.LINE, "at", Measure("Calls", Aggregate.COUNT, "at"), Bucket.DAY)
    figures = (Figures(1, (), (Series(chart, (), ()),)), Figures(2, (), (Series(chart, ("2010-11-01",), (2,)),)))
    draft = documents.draft(load_brand(None), "en", context(), "UTC")

    comparison(draft, Comparison(("Not begun", "Loans"), figures, ()))

    [block] = [block for block in draft.blocks if block["type"] == "charts"]
    colours = {key["label"]: key["colour"] for key in block["items"][0]["keys"]}
    [spec] = draft.charts.values()
    assert [(point["value"], point["colour"]) for point in spec["layer"][0]["data"]["values"]] == [
        (2, colours["Loans"])
    ]


def test_trend_when_its_points_are_too_many_then_weeks_of_all_subjects() -> None:
    days = [date.fromordinal(FIRST_DAY.toordinal() + day) for day in range(250)]
    rows = pl.LazyFrame({"\x00subject": ["Long"] * 250 + ["Short"], "at": [*days, days[0]]})
    calls = Measure("Calls", Aggregate.COUNT, "at")
    report = Report((calls,), (Chart("Calls per day", ChartKind.LINE, "at", calls, Bucket.DAY),))

    found = compare(rows, report, Column("name", TEXT, "sql", "Name."), zone="UTC", still_wanted=lambda: None)

    assert [figures.series[0].chart.bucket for figures in found.figures] == [Bucket.WEEK] * 2
    draft = documents.draft(load_brand(None), "en", context(), "UTC")
    comparison(draft, found)
    [block] = [block for block in draft.blocks if block["type"] == "charts"]
    assert block["items"][0]["title"] == "Calls per day (here by week)"


@pytest.mark.parametrize(
    ("language", "notes"),
    [
        ("en", ["1 row · reference", "2,001 rows"]),
        ("de", ["1 Zeile · Bezug", "2.001 Zeilen"]),
        ("pt", ["1 linha · referência", "2.001 linhas"]),
        ("es", ["1 fila · referencia", "2.001 filas"]),
    ],
)
def test_comparison_when_a_subject_has_one_row_then_said_in_the_singular(language: Language, notes: list[str]) -> None:
    draft = documents.draft(load_brand(None), language, context(), "UTC")

    comparison(draft, Comparison(("A", "B"), (Figures(1, (), ()), Figures(2_001, (), ())), ()))

    [block] = [block for block in draft.blocks if block["type"] == "comparison"]
    assert [subject["note"] for subject in block["subjects"]] == notes
