"""The charts of PDF reports, as they are given to the renderer."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from export_pipeline.datasets.team_activity import DATASET as TEAM_ACTIVITY
from export_pipeline.formats import _pdf_document as documents
from export_pipeline.formats._figures import Series
from export_pipeline.formats._pdf_branding import Branding, Fonts, load_brand
from export_pipeline.formats._pdf_charts import Style, bars, donut, format_locale, groups, lines
from export_pipeline.formats._pdf_document import chart_block
from export_pipeline.formats._pdf_words import WORDS
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Measure, Report
from export_pipeline_tests.formats.test_pdf import calls, context, pages, write

STYLE = Style(WORDS["en"], Branding())
COST = Measure("Cost", Aggregate.SUM, "cost")


def line(labels: Sequence[str], values: Sequence[float | None], chart: Chart) -> Any:
    """The chart of a series in time."""
    return lines(STYLE, [Series(chart, tuple(labels), tuple(values))], 482, 104)


def points(spec: Any) -> list[tuple[str, float | None]]:
    """What a line goes through."""
    found = spec["layer"][-2]["data"]["values"]
    return [(datetime.fromtimestamp(at["t"] / 1000, UTC).date().isoformat(), at["value"]) for at in found]


def test_line_when_a_dataset_has_weeks_then_a_point_for_each_week() -> None:
    [chart] = [chart for chart in TEAM_ACTIVITY.report.charts if chart.kind is ChartKind.LINE]

    found = points(line(["2010-11-01", "2010-11-08", "2010-11-15"], [100, 0, 120], chart))

    assert found == [("2010-11-01", 100), ("2010-11-08", 0), ("2010-11-15", 120)]


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0, 30], [0, 10, 20, 30, 40]),
        ([0.0, 0.0], [0, 0.25, 0.5, 0.75, 1]),
        ([0, 0], [0, 1, 2, 3, 4]),
        ([-5, -3], [-8, -6, -4, -2, 0]),
        ([9, 5], [0, 3, 6, 9, 12]),
        ([0.5, 3.5], [0, 1, 2, 3, 4]),
        ([-30, 7], [-40, -30, -20, -10, 0, 10]),
        ([-7, 30], [-10, 0, 10, 20, 30, 40]),
    ],
)
def test_line_when_numbers_are_negative_then_its_axis_holds_them_and_0(values: list[float], ticks: list[float]) -> None:
    chart = Chart("Balance", ChartKind.LINE, "at", COST, Bucket.DAY)

    axis = line(["2010-11-01", "2010-11-02"], values, chart)["layer"][-2]["encoding"]["y"]

    assert axis["axis"]["values"] == ticks
    assert axis["scale"]["domain"] == [ticks[0], ticks[-1]]


@pytest.mark.parametrize(
    ("aggregate", "values", "labels"),
    [
        (Aggregate.SHARE, [0.013, 0.002], ["0.0%", "0.5%", "1.0%", "1.5%", "2.0%"]),
        (Aggregate.SHARE, [0.75, 0.5], ["0%", "20%", "40%", "60%", "80%"]),
        (Aggregate.MEAN, [0.01, None], ["0.0000", "0.0025", "0.0050", "0.0075", "0.0100"]),
        (Aggregate.MEAN, [1.2, 0.5], ["0.0", "0.5", "1.0", "1.5", "2.0"]),
        (Aggregate.SUM, [0, 0], ["0", "1", "2", "3", "4"]),
        (Aggregate.SUM, [-2, 1], ["-4", "-3", "-2", "-1", "0", "1"]),
        (Aggregate.SUM, [3e300, 1.0], ["0e+00", "1e+300", "2e+300", "3e+300", "4e+300"]),
        (Aggregate.MEAN, [4e-12, 1e-12], ["0e+00", "1e-12", "2e-12", "3e-12", "4e-12"]),
    ],
)
def test_line_when_numbers_are_small_or_large_then_no_two_labels_of_its_axis_are_alike(
    aggregate: Aggregate, values: list[float | None], labels: list[str]
) -> None:
    chart = Chart("", ChartKind.LINE, "at", Measure("", aggregate, "cost", only=("cost", ("1",))), Bucket.DAY)

    spec = line(["2010-11-01", "2010-11-02"], values, chart)

    axis = spec["layer"][-2]["encoding"]["y"]["axis"]
    assert [format(tick, axis["format"].replace("2~e", "0e")) for tick in axis["values"]] == labels
    assert spec["width"] > 300


def test_axis_when_it_shows_shares_then_per_cent_as_the_language_has_it() -> None:
    assert format_locale(WORDS["de"])["percent"] == "\u00a0%"


def test_line_when_it_counts_few_then_its_axis_has_whole_numbers() -> None:
    chart = Chart("Calls per day", ChartKind.LINE, "at", Measure("Calls", Aggregate.COUNT), Bucket.DAY)

    axis = line(["2010-11-01", "2010-11-02"], [2, 1], chart)["layer"][-2]["encoding"]["y"]["axis"]

    assert (axis["values"], axis["format"]) == ([0, 1, 2, 3, 4], ",.0f")


def by_value(values: Sequence[float | None], measure: Measure = COST, kind: ChartKind = ChartKind.BAR) -> Series:
    """A chart's groups a, b, c …"""
    chart = Chart("By status", kind, "status", measure)
    return Series(chart, tuple("abcdefghijklmnopqrstuvwxyz"[: len(values)]), tuple(values))


def test_chart_when_sums_are_longer_than_64_bits_then_drawn_from_floats_and_said_exactly() -> None:
    large = 3 * 9 * 10**18
    found = by_value([large, large])
    shown = groups(STYLE, found)
    days = Chart("Found", ChartKind.LINE, "at", COST, Bucket.DAY)
    specs = [
        bars(STYLE, found, shown, 482),
        donut(STYLE, shown),
        line(["2010-11-01", "2010-11-02"], [large, 1.2e19], days),
    ]

    numbers = [int(number) for number in re.findall(r"(?<![\d.e+-])-?\d+(?![\d.e])", json.dumps(specs))]

    assert max(map(abs, numbers)) < 2**63
    assert specs[0]["data"]["values"][0]["text"] == "27,000,000,000,000,000,000 · 50%"


@pytest.mark.parametrize("font", ["Libertinus Serif", "DejaVu Sans Mono"])
@pytest.mark.parametrize("value", [1.0, 1.234567e18, 1e36])
def test_bars_when_their_texts_are_long_then_labels_have_less_room_and_bars_keep_some(value: float, font: str) -> None:
    style = Style(WORDS["en"], Branding(fonts=Fonts(body=font)))
    found = by_value([value], replace(COST, decimals=2))

    spec = bars(style, found, groups(style, found), 236)

    assert spec["width"] >= 40
    assert spec["padding"]["left"] >= 50


@pytest.mark.parametrize(
    ("values", "domain"), [([100, -90, -400], [-400, 100]), ([-90, -400], [-400, 0]), ([100, 90], [0, 100])]
)
def test_bars_when_numbers_are_negative_then_within_the_plot_with_a_line_at_0_and_no_shares(
    values: list[float], domain: list[float]
) -> None:
    found = by_value(values, kind=ChartKind.PIE)
    is_negative = min(values) < 0

    spec = bars(STYLE, found, groups(STYLE, found), 482)

    assert spec["layer"][0]["encoding"]["x"]["scale"]["domain"] == domain
    assert [layer["encoding"]["x"]["datum"] for layer in spec["layer"][3:]] == [0] * is_negative
    assert ["%" in item["text"] for item in spec["data"]["values"]] == [not is_negative] * len(values)
    # Each number stands at the right of its bar.
    assert [item["end"] for item in spec["data"]["values"]] == [max(0, value) for value in values]


def test_pie_when_a_number_is_negative_then_bars() -> None:
    made = documents.draft(load_brand(None), "en", context(), "UTC")

    for values in ([2, 1], [2, -1]):
        chart_block(made, by_value(values, kind=ChartKind.PIE), 482)

    pie, drawn = made.charts.values()
    assert (pie["mark"]["type"], drawn["layer"][0]["mark"]["type"]) == ("arc", "bar")


@pytest.mark.parametrize(
    ("aggregate", "groups", "title"),
    [
        (Aggregate.MEAN, 26, "By status (erste 8 von 26)"),
        (Aggregate.MEAN, 8, "By status"),
        (Aggregate.SUM, 26, "By status"),
    ],
)
def test_bars_when_numbers_do_not_add_up_then_their_title_says_how_many_are_drawn(
    aggregate: Aggregate, groups: int, title: str
) -> None:
    made = documents.draft(load_brand(None), "de", context(), "UTC")

    assert chart_block(made, by_value([1.5] * groups, Measure("", aggregate, "cost")), 482)["title"] == title


def test_groups_when_some_have_no_place_then_no_great_loss_is_among_the_others() -> None:
    found = by_value([*range(10, 1, -1), -400])

    assert [(group.label, group.value) for group in groups(STYLE, found, 3)] == [
        ("j", -400),
        ("a", 10),
        ("Others (8)", 44),
    ]


def test_line_when_all_numbers_are_negative_then_drawn() -> None:
    report = Report(charts=(Chart("Balance", ChartKind.LINE, "at", COST, Bucket.DAY),))
    rows = [(*row[:4], Decimal(-5)) for row in calls("Loans", 20, 5)]

    assert "Balance" in pages(write(rows, context(report=report)))[0]


def test_period_when_rows_are_told_by_week_then_up_to_the_last_weeks_sunday() -> None:
    weekly = Chart("Per week", ChartKind.LINE, "at", COST, Bucket.WEEK)

    [text] = pages(write(calls("Loans", 20, 5), context(report=Report(charts=(weekly,)))))

    assert "Period 1 November 2010 – 21 November 2010 Rows 20" in text


@pytest.mark.parametrize("report", ["executive_summary", "comparison"])
@pytest.mark.parametrize("character", ["\x01", "\x1b", "\ufffe"])
def test_labels_when_a_value_has_control_characters_then_lines_without_them(character: str, report: str) -> None:
    hostile = f"call{character}centre"
    rows = [(name, hostile, *row[2:]) for name in (hostile, "Loans") for row in calls(name, 20, 5)]

    [text, *_] = pages(write(rows, report=report))

    assert "About call centre · Loans" in text
