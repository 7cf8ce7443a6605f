"""A dataset's figures and charts, computed from rows."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from export_pipeline.formats._figures import compute
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Measure, Report

ROWS = pl.LazyFrame(
    {
        "status": ["done", "busy", "done", None],
        "at": [
            datetime(2020, 1, 1, tzinfo=UTC),
            datetime(2020, 1, 1, 23, 30, tzinfo=UTC),
            None,
            datetime(2020, 2, 1, tzinfo=UTC),
        ],
        "cost": [Decimal("1.5"), None, Decimal("2.5"), Decimal("1")],
    },
    schema={"status": pl.String, "at": pl.Datetime("us", "UTC"), "cost": pl.Decimal(12, 4)},
)
DONE = ("status", ("done",))


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (Measure("", Aggregate.COUNT), 4),
        (Measure("", Aggregate.COUNT, "cost"), 3),
        (Measure("", Aggregate.COUNT, only=DONE), 2),
        (Measure("", Aggregate.COUNT, "at", only=DONE), 1),
        (Measure("", Aggregate.SHARE, only=DONE), 0.5),
        (Measure("", Aggregate.SHARE, "at", only=DONE), 1 / 3),
        (Measure("", Aggregate.SUM, "cost"), 5),
        (Measure("", Aggregate.SUM, "cost", only=("status", ("busy",))), 0),
        (Measure("", Aggregate.MEAN, "cost"), 5 / 3),
        (Measure("", Aggregate.MEAN, "cost", only=DONE), 2),
        (Measure("", Aggregate.MEAN, "cost", only=("status", ("busy",))), None),
    ],
    ids=lambda value: f"{value.aggregate}-{value.column}-{value.only}" if isinstance(value, Measure) else str(value),
)
def test_figure_when_computed_then_counts_what_it_says(measure: Measure, expected: float | None) -> None:
    [(_, value)] = compute(ROWS, Report((measure,))).figures
    assert value == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("bucket", "zone", "labels", "values"),
    [
        (Bucket.DAY, "UTC", ("2020-01-01", "2020-02-01"), (1.5, 1)),
        (Bucket.DAY, "Europe/Berlin", ("2020-01-01", "2020-01-02", "2020-02-01"), (1.5, None, 1)),
        (Bucket.WEEK, "UTC", ("2019-12-30", "2020-01-27"), (1.5, 1)),
        (Bucket.WEEK, "America/New_York", ("2019-12-30", "2020-01-27"), (1.5, 1)),
        (Bucket.MONTH, "America/New_York", ("2019-12", "2020-01"), (1.5, 1)),
    ],
)
def test_chart_when_over_time_then_its_groups_are_days_of_the_zone(
    bucket: Bucket, zone: str, labels: tuple[str, ...], values: tuple[float, ...]
) -> None:
    chart = Chart("", ChartKind.LINE, "at", Measure("", Aggregate.MEAN, "cost"), bucket)
    [series] = compute(ROWS, Report(charts=(chart,)), zone=zone).series
    assert (series.labels, series.values) == (labels, values)


@pytest.mark.parametrize(
    ("bucket", "first", "last", "labels", "values"),
    [
        (Bucket.DAY, (2020, 1, 31), (2020, 2, 2), ("2020-01-31", "2020-02-01", "2020-02-02"), (1, 0, 2)),
        (Bucket.WEEK, (2019, 12, 31), (2020, 1, 15), ("2019-12-30", "2020-01-06", "2020-01-13"), (1, 0, 2)),
        (Bucket.MONTH, (2019, 11, 30), (2020, 1, 1), ("2019-11", "2019-12", "2020-01"), (1, 0, 2)),
        (Bucket.DAY, (9999, 12, 30), (9999, 12, 31), ("9999-12-30", "9999-12-31"), (1, 2)),
        (Bucket.WEEK, (1, 1, 1), (1, 1, 15), ("0001-01-01", "0001-01-08", "0001-01-15"), (1, 0, 2)),
        (Bucket.MONTH, (9999, 10, 1), (9999, 12, 31), ("9999-10", "9999-11", "9999-12"), (1, 0, 2)),
        (Bucket.MONTH, (2010, 11, 9), (2011, 2, 1), ("2010-11", "2010-12", "2011-01", "2011-02"), (1, 0, 0, 2)),
        (Bucket.DAY, (1, 1, 1), (2020, 1, 1), ("0001-01-01", "2020-01-01"), (1, 2)),
    ],
)
@pytest.mark.parametrize("aggregate", [Aggregate.COUNT, Aggregate.SUM])
def test_chart_when_days_between_have_no_rows_then_they_are_zero_but_not_centuries(
    aggregate: Aggregate,
    bucket: Bucket,
    first: tuple[int, int, int],
    last: tuple[int, int, int],
    labels: tuple[str, ...],
    values: tuple[float, ...],
) -> None:
    rows = pl.LazyFrame({"at": [date(*last), date(*first), date(*last)], "one": [1, 1, 1]})
    chart = Chart("", ChartKind.LINE, "at", Measure("", aggregate, "one"), bucket)
    [series] = compute(rows, Report(charts=(chart,))).series
    assert (series.labels, series.values) == (labels, values)


@pytest.mark.parametrize(
    ("aggregate", "bucket", "last", "drawn", "points", "end"),
    [
        (Aggregate.COUNT, Bucket.DAY, date(2008, 11, 6), Bucket.DAY, 200, None),
        (Aggregate.COUNT, Bucket.DAY, date(2008, 11, 7), Bucket.WEEK, 29, date(2008, 11, 7)),
        (Aggregate.COUNT, Bucket.DAY, date(2018, 11, 7), Bucket.MONTH, 128, date(2018, 11, 7)),
        (Aggregate.COUNT, Bucket.WEEK, date(2026, 11, 18), Bucket.MONTH, 224, date(2026, 11, 22)),
        (Aggregate.SUM, Bucket.WEEK, date(2010, 11, 17), Bucket.WEEK, 135, None),
        (Aggregate.MEAN, Bucket.DAY, date(2018, 11, 7), Bucket.DAY, 2, None),
    ],
)
def test_chart_when_points_in_time_are_too_many_then_weeks_or_months(
    aggregate: Aggregate, bucket: Bucket, last: date, drawn: Bucket, points: int, end: date | None
) -> None:
    first = date(2008, 4, 21)
    rows = pl.LazyFrame({"at": [first, last], "one": [1, 1]})
    chart = Chart("", ChartKind.LINE, "at", Measure("", aggregate, "one"), bucket)
    [series] = compute(rows, Report(charts=(chart,))).series
    assert (series.chart.bucket, len(series.values)) == (drawn, points)
    assert sum(value or 0 for value in series.values) == 2
    assert series.period == (end and (first, end))


def test_chart_when_many_days_have_means_then_weeks_are_those_of_their_rows() -> None:
    days = [date.fromordinal(date(2020, 1, 6).toordinal() + day) for day in range(201)]
    rows = pl.LazyFrame({"at": [*days, days[0]], "cost": [3.0] * 201 + [11.0]})
    chart = Chart("", ChartKind.LINE, "at", Measure("", Aggregate.MEAN, "cost"), Bucket.DAY)
    [series] = compute(rows, Report(charts=(chart,)), zone="Asia/Tokyo").series
    assert series.labels[:2] == ("2020-01-06", "2020-01-13")
    assert (len(series.values), series.values[:2]) == (29, (4.0, 3.0))


def test_sum_when_it_is_longer_than_64_bits_then_every_digit_of_it() -> None:
    rows = pl.LazyFrame({"name": ["a"] * 6, "large": [2**63 - 1] * 6})
    total = Measure("", Aggregate.SUM, "large")
    found = compute(rows, Report((total,), (Chart("", ChartKind.BAR, "name", total),)))
    assert found.figures[0][1] == 6 * (2**63 - 1)
    assert found.series[0].values == (6 * (2**63 - 1),)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Vienna", "America/New_York"])
def test_chart_when_the_zones_clocks_have_no_such_year_then_days_in_utc(zone: str) -> None:
    ends = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)]
    rows = pl.LazyFrame({"at": ends}, schema={"at": pl.Datetime("us", "UTC")})
    expected = {
        Bucket.DAY: ["0001-01-01", "9999-12-31"],
        Bucket.WEEK: ["0001-01-01", "9999-12-27"],
        Bucket.MONTH: ["0001-01", "9999-12"],
    }
    for bucket, labels in expected.items():
        chart = Chart("", ChartKind.LINE, "at", Measure("", Aggregate.COUNT), bucket)
        [series] = compute(rows, Report(charts=(chart,)), zone=zone).series
        assert list(series.labels) == labels


def test_chart_when_by_value_then_the_greatest_comes_first_and_null_is_a_group() -> None:
    chart = Chart("", ChartKind.PIE, "status", Measure("", Aggregate.SUM, "cost"))
    [series] = compute(ROWS, Report(charts=(chart,))).series
    assert (series.labels, series.values) == (("done", "(none)", "busy"), (4, 1, 0))


def test_chart_when_a_text_says_that_there_is_none_then_not_the_group_without_one() -> None:
    rows = pl.LazyFrame({"status": ["(none)", None, None]})
    [series] = compute(rows, Report(charts=(Chart("", ChartKind.BAR, "status", Measure("", Aggregate.COUNT)),))).series
    assert (series.labels, series.values) == (("(none)", '"(none)"'), (2, 1))


def test_report_when_there_are_no_rows_then_has_no_groups() -> None:
    chart = Chart("", ChartKind.BAR, "status", Measure("", Aggregate.COUNT))
    found = compute(ROWS.filter(False), Report((Measure("", Aggregate.MEAN, "cost"),), (chart,)))
    assert (found.rows, found.figures[0][1], found.series[0].labels) == (0, None, ())
    for panels in ((), ("metric",)):
        assert compute(RATES.filter(False), Report(charts=(replace(RATE, panels=panels),))).panels_left_out == 0


def test_report_when_columns_are_left_out_then_keeps_what_can_be_computed() -> None:
    cost, count = Measure("", Aggregate.SUM, "cost"), Measure("", Aggregate.COUNT, only=DONE)
    report = Report((cost, count), (Chart("", ChartKind.BAR, "status", cost),), subject="status")
    assert report.within({"status": "status"}) == Report((count,), (), "status")
    assert report.within({"cost": "cost"}) == Report((cost,))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_when_not_finite_then_no_value(number: float) -> None:
    rows = pl.LazyFrame({"status": ["odd", "odd", "done"], "rate": [number, 0.5, 0.25], "low": [0.0, number, 0.25]})
    mean = Measure("", Aggregate.MEAN, "rate")
    bars = Chart("", ChartKind.BAR, "status", mean)
    single = replace(bars, interval=("low", "rate"))

    found = compute(rows, Report((mean,), (bars, single)))

    assert found.figures == ((mean, None),)
    assert [(series.labels, series.values) for series in found.series] == [
        (("done", "odd"), (0.25, None)),
        (("odd", "odd", "done"), (None, 0.5, 0.25)),
    ]
    assert found.series[1].bounds == (None, None, (0.25, 0.25))


RATES = pl.LazyFrame(
    {
        "metric": ["b", "b", "a", "a"],
        "variant": ["old", "new", "old", None],
        "rate": [0.1, 0.9, None, 0.0],
        "low": [0.0, None, None, 0.0],
        "high": [0.2, 1.0, None, 0.3],
    }
)
RATE = Chart(
    "Rate", ChartKind.BAR, "variant", Measure("", Aggregate.MEAN, "rate"), interval=("low", "high"), panels=("metric",)
)


def test_chart_when_it_has_intervals_then_single_rows_in_their_order_by_panel() -> None:
    found = compute(RATES, Report(charts=(RATE,))).series
    assert [series.chart.title for series in found] == ["Rate: b", "Rate: a"]
    assert [(series.labels, series.values, series.bounds) for series in found] == [
        (("old", "new"), (0.1, 0.9), ((0.0, 0.2), None)),
        (("(none)",), (0.0,), ((0.0, 0.3),)),
    ]


def test_chart_when_it_has_too_many_single_rows_then_first_ones_and_says_of_how_many() -> None:
    rows = pl.concat([RATES.head(1)] * 16)
    [series] = compute(rows, Report(charts=(RATE,))).series
    assert (series.chart.title, len(series.labels), series.total) == ("Rate: b", 15, 16)
    [series] = compute(rows, Report(charts=(replace(RATE, panels=()),))).series
    assert (len(series.labels), series.total) == (15, 16)
    several = [rows.head(12).with_columns(metric=pl.lit(metric)) for metric in "abcdef"]
    several.insert(5, several[0].head(1))
    found = compute(pl.concat(several), Report(charts=(RATE,)))
    assert [(len(series.labels), series.total) for series in found.series] == [(12, 13), *[(12, 12)] * 4]
    assert found.panels_left_out == 1


def test_chart_when_a_panels_name_is_hostile_then_its_title_is_a_line() -> None:
    rows = RATES.head(1).with_columns(metric=pl.lit("a\x01b\r\n\ufffe" + "c" * 70))
    [series] = compute(rows, Report(charts=(RATE,))).series
    assert series.chart.title == f"Rate: a b {'c' * 55}…"


def test_chart_when_a_groups_name_is_hostile_then_its_label_is_a_line() -> None:
    statuses = ["a\x01b\r\nc", "\x1bd\ufffe", "said \u201cno\u201d\u00ad\U0001f600"]
    chart = Chart("", ChartKind.BAR, "status", Measure("", Aggregate.COUNT))
    [series] = compute(pl.LazyFrame({"status": statuses}), Report(charts=(chart,))).series
    assert sorted(series.labels) == ["a b c", "d", "said \u201cno\u201d\u00ad\U0001f600"]


def test_report_when_an_intervals_column_is_left_out_then_without_the_chart() -> None:
    names = {name: f"our_{name}" for name in ("metric", "variant", "rate", "low", "high")}
    [chart] = Report(charts=(RATE,)).within(names).charts
    assert (chart.interval, chart.panels) == (("our_low", "our_high"), ("our_metric",))
    for name in ("metric", "low", "high"):
        assert not Report(charts=(RATE,)).within({key: value for key, value in names.items() if key != name}).charts


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": ChartKind.PIE}, "'Rate' has intervals"),
        ({"bucket": Bucket.DAY}, "'Rate' has intervals"),
        ({"measure": Measure("", Aggregate.SUM, "rate")}, "'Rate' has intervals"),
        ({"measure": Measure("", Aggregate.MEAN, "rate", only=DONE)}, "'Rate' has intervals"),
        ({"interval": None}, "'Rate' has panels"),
    ],
)
def test_chart_when_intervals_do_not_fit_it_then_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(RATE, **changes)
