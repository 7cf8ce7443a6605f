"""A dataset's figures and charts, computed from rows."""

from datetime import UTC, datetime
from decimal import Decimal

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
        (Bucket.DAY, "UTC", ("2020-01-01", "2020-02-01"), (2, 1)),
        (Bucket.DAY, "Europe/Berlin", ("2020-01-01", "2020-01-02", "2020-02-01"), (1, 1, 1)),
        (Bucket.MONTH, "America/New_York", ("2019-12", "2020-01"), (1, 2)),
    ],
)
def test_chart_when_over_time_then_its_groups_are_days_of_the_zone(
    bucket: Bucket, zone: str, labels: tuple[str, ...], values: tuple[float, ...]
) -> None:
    chart = Chart("", ChartKind.LINE, "at", Measure("", Aggregate.COUNT), bucket)
    [series] = compute(ROWS, Report(charts=(chart,)), zone=zone).series
    assert (series.labels, series.values) == (labels, values)


def test_chart_when_by_value_then_the_greatest_comes_first_and_null_is_a_group() -> None:
    chart = Chart("", ChartKind.PIE, "status", Measure("", Aggregate.SUM, "cost"))
    [series] = compute(ROWS, Report(charts=(chart,))).series
    assert (series.labels, series.values) == (("done", "(none)", "busy"), (4, 1, 0))


def test_report_when_there_are_no_rows_then_has_no_groups() -> None:
    chart = Chart("", ChartKind.BAR, "status", Measure("", Aggregate.COUNT))
    found = compute(ROWS.filter(False), Report((Measure("", Aggregate.MEAN, "cost"),), (chart,)))
    assert (found.rows, found.figures[0][1], found.series[0].labels) == (0, None, ())


def test_report_when_columns_are_left_out_then_keeps_what_can_be_computed() -> None:
    cost, count = Measure("", Aggregate.SUM, "cost"), Measure("", Aggregate.COUNT, only=DONE)
    report = Report((cost, count), (Chart("", ChartKind.BAR, "status", cost),), subject="status")
    assert report.within({"status": "status"}) == Report((count,), (), "status")
    assert report.within({"cost": "cost"}) == Report((cost,))
