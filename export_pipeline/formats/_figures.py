"""Computes what a dataset's report declares from rows read as a stream: memory grows with groups, not with rows."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

from export_pipeline.formats._sink import surfacing
from export_pipeline.model.report import Aggregate, Bucket, Chart, Measure, Report

if TYPE_CHECKING:
    import polars as pl

#: The group of rows without a value.
NO_VALUE = "(none)"
#: Rows that are drawn each by itself, and those of one chart; a reader could not take in more.
_MOST_SINGLE_ROWS, _MOST_PANEL_ROWS = 60, 15
#: Of a value in a title.
_MOST_CHARACTERS = 60
#: Days, weeks and months without rows are counted as 0 up to so many, not over centuries that a wrong date would open.
_MOST_POINTS = 4_000
_DAYS = {Bucket.DAY: 1, Bucket.WEEK: 7, Bucket.MONTH: 30}
#: More points than these cannot be told apart in a chart as wide as a page: its days become weeks, its weeks months.
_MOST_TOLD_APART = 200
_EPOCH = date(1970, 1, 1).toordinal()
#: Control characters, and the two that XML does not have.
_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffe\uffff]")
#: How groups in time are labelled, a week by its Monday.
_FORMATS = {Bucket.DAY: "%Y-%m-%d", Bucket.WEEK: "%Y-%m-%d", Bucket.MONTH: "%Y-%m"}


@dataclass(frozen=True)
class Series:
    """A chart's numbers: each group's label and its number, in the order to draw. No number: no row counted; but days,
    weeks and months between others are 0 where numbers add up. `bounds`: where the chart has intervals, those of each
    number, as far as there is one. `total`: how many rows there are to draw each by itself, of which these are the
    first. `period`: where the chart is `Coarse`, its first and last day."""

    chart: Chart
    labels: tuple[str, ...]
    values: tuple[float | None, ...]
    bounds: tuple[tuple[float, float] | None, ...] = ()
    total: int = 0
    period: tuple[date, date] | None = None

    @property
    def has_negative(self) -> bool:
        """Whether a number is less than 0: then there are no shares of a whole, and no pie."""
        return any(value is not None and value < 0 for value in self.values)


@dataclass(frozen=True)
class Figures:
    """The report's numbers for one set of rows; `panels_left_out`: how many more charts single rows would make."""

    rows: int
    figures: tuple[tuple[Measure, float | None], ...]
    series: tuple[Series, ...]
    panels_left_out: int = 0


@dataclass(frozen=True)
class Coarse:
    """What a chart with too many points in time is drawn by instead, and the first and last day that it is about."""

    bucket: Bucket
    period: tuple[date, date]


def coarsened(frame: pl.LazyFrame, report: Report, *, zone: str = "UTC") -> dict[Chart, Coarse]:
    """The report's charts in time that would have too many points for the frame's rows."""
    import polars as pl

    charts = [chart for chart in report.charts if chart.bucket in (Bucket.DAY, Bucket.WEEK)]
    if not charts:
        return {}
    points = [_in_time(pl.col(chart.by), chart.bucket, zone, frame).to_physical() for chart in charts]
    told = [each for point in points for each in (point.min(), point.max(), point.drop_nulls().n_unique())]
    with surfacing():
        row = frame.select(each.alias(str(place)) for place, each in enumerate(told)).collect(engine="streaming").row(0)
    found = {}
    for chart, first, last, points_found in zip(charts, row[::3], row[1::3], row[2::3], strict=True):
        if first is None or not 1 <= _EPOCH + first <= _EPOCH + last <= date.max.toordinal():
            continue
        days = last - first + _DAYS[chart.bucket]
        bucket = _told_apart(chart, days, points_found)
        if bucket is not chart.bucket:
            end = min(_EPOCH + first + days - 1, date.max.toordinal())
            found[chart] = Coarse(bucket, (date.fromordinal(_EPOCH + first), date.fromordinal(end)))
    return found


def _told_apart(chart: Chart, days: int, points: int) -> Bucket:
    """The finest bucket, from the chart's on, of which there are not too many in so many days; months where all are."""
    buckets = list(_DAYS)
    for bucket in buckets[buckets.index(chart.bucket) : -1]:
        filled = math.ceil(days / _DAYS[bucket])
        without_gaps = chart.measure.adds_up and filled <= _MOST_POINTS
        if (filled if without_gaps else min(filled, points)) <= _MOST_TOLD_APART:
            return bucket
    return buckets[-1]


def compute(
    frame: pl.LazyFrame, report: Report, *, zone: str = "UTC", coarse: Mapping[Chart, Coarse] | None = None
) -> Figures:
    """The report's numbers for the frame's rows; `zone` (IANA) is whose days and months are counted; `coarse` are the
    charts that are, of these rows if not given. The frame is read once for that, and once for all numbers, where the
    engine can."""
    import polars as pl

    coarse = coarsened(frame, report, zone=zone) if coarse is None else coarse
    charts = [replace(chart, bucket=coarse[chart].bucket) if chart in coarse else chart for chart in report.charts]
    schema = frame.collect_schema()
    totals = frame.select(
        pl.len().alias("rows"), *(_number(figure, schema).alias(str(n)) for n, figure in enumerate(report.figures))
    )
    groups = [
        _single_rows(frame, chart, chart.interval) if chart.interval else _grouped(frame, chart, zone)
        for chart in charts
    ]
    counts = [_panel_rows(frame, chart) for chart in charts if chart.interval]
    with surfacing():
        total, *found = pl.collect_all([totals, *groups, *counts], engine="streaming")
    row, counted = total.row(0), iter(found[len(groups) :])
    series = [
        _panels(chart, group, next(counted))
        if chart.interval
        else [replace(_series(chart, group), period=coarse[declared].period if declared in coarse else None)]
        for declared, chart, group in zip(report.charts, charts, found, strict=False)
    ]
    return Figures(
        rows=int(row[0]),
        figures=tuple(zip(report.figures, map(_as_number, row[1:]), strict=True)),
        series=tuple(each for several in series for each in several),
        panels_left_out=sum(panels.height for panels in found[len(groups) :])
        - sum(bool(each.bounds) for several in series for each in several),
    )


def _series(chart: Chart, group: pl.DataFrame) -> Series:
    labels, values = group["label"].to_list(), list(map(_as_number, group["number"].to_list()))
    if chart.bucket is not Bucket.VALUE and chart.measure.adds_up:
        found = dict(zip(labels, values, strict=True))
        labels = _without_gaps(labels, chart.bucket)
        values = [found.get(label, 0) for label in labels]
    pairs = list(zip(map(one_line, labels), values, strict=True))
    if chart.bucket is Bucket.VALUE and not chart.interval:
        # NaN was the greatest; no value comes last.
        pairs.sort(key=lambda pair: pair[1] is None)
    return Series(chart, tuple(label for label, _ in pairs), tuple(value for _, value in pairs))


def _without_gaps(labels: list[str], bucket: Bucket) -> list[str]:
    """The labels of days, weeks or months, in order, with those between."""
    try:
        days = [date.fromisoformat(label + "-01" if bucket is Bucket.MONTH else label) for label in labels]
    except ValueError:  # years that Python does not know
        return labels
    if not days or (days[-1] - days[0]).days > _MOST_POINTS * _DAYS[bucket]:
        return labels
    every = range(days[0].toordinal(), days[-1].toordinal() + 1, 7 if bucket is Bucket.WEEK else 1)
    return list(dict.fromkeys(date.fromordinal(day).isoformat()[: len(labels[0])] for day in every))


def _panels(chart: Chart, shown: pl.DataFrame, counts: pl.DataFrame) -> list[Series]:
    """One series for each combination of the panels' values, in the order of the first row that has it; its title
    names the values that are not the same in all of them, at least the last. `counts`: how many rows each has."""
    names = [str(place) for place in range(len(chart.panels))]
    totals = {tuple(values): total for *values, total in counts.rows()}
    telling = [name for name in names if shown[name].n_unique() > 1] or names[-1:]
    found = []
    for whole in shown.partition_by(names, maintain_order=True) if names else [shown]:
        panel = whole.head(_MOST_PANEL_ROWS)
        title = ": ".join(filter(None, [chart.title, " · ".join(_shortened(panel[name][0]) for name in telling)]))
        ends = (map(_as_number, row) for row in panel.select("low", "high").rows())
        bounds = tuple(None if low is None or high is None else (low, high) for low, high in ends)
        total = totals.get(tuple(whole[name][0] for name in names), 0)
        found.append(replace(_series(replace(chart, title=title), panel), bounds=bounds, total=total))
    return found


def one_line(text: str) -> str:
    """A value as a chart's label, without line breaks and what not every format can hold."""
    return " ".join(_UNSHOWN.sub(" ", text).split())


def _shortened(text: str) -> str:
    shown = one_line(text)
    return shown if len(shown) <= _MOST_CHARACTERS else shown[: _MOST_CHARACTERS - 1].rstrip() + "…"


def _single_rows(frame: pl.LazyFrame, chart: Chart, interval: tuple[str, str]) -> pl.LazyFrame:
    """The first rows that have a number, each with its label, interval and panels."""
    import polars as pl

    value, (low, high) = pl.col(chart.measure.column), interval
    return (
        frame.filter(value.is_not_null())
        .select(
            group_label(pl.col(chart.by)).alias("label"),
            value.alias("number"),
            pl.col(low).alias("low"),
            pl.col(high).alias("high"),
            *_panel_names(chart),
        )
        .head(_MOST_SINGLE_ROWS)
    )


def _panel_rows(frame: pl.LazyFrame, chart: Chart) -> pl.LazyFrame:
    """How many rows each panel has."""
    import polars as pl

    rows, names = frame.filter(pl.col(chart.measure.column).is_not_null()), _panel_names(chart)
    counted = rows.group_by(names).agg(pl.len().alias("total")) if names else rows.select(pl.len().alias("total"))
    return counted.filter(pl.col("total") > 0)


def _panel_names(chart: Chart) -> list[pl.Expr]:
    import polars as pl

    return [group_label(pl.col(panel)).alias(str(place)) for place, panel in enumerate(chart.panels)]


def _grouped(frame: pl.LazyFrame, chart: Chart, zone: str) -> pl.LazyFrame:
    import polars as pl

    label = pl.col(chart.by)
    if chart.bucket is Bucket.VALUE:
        grouped = frame.group_by(group_label(label).alias("label"))
        order = ["number", "label"]
    else:
        frame = frame.filter(label.is_not_null())
        days = _in_time(label, chart.bucket, zone, frame)
        grouped = frame.group_by(days.dt.strftime(_FORMATS[chart.bucket]).alias("label"))
        order = ["label"]
    numbers = grouped.agg(_number(chart.measure, frame.collect_schema()).alias("number"))
    return numbers.sort(order, descending=[name == "number" for name in order], nulls_last=True)


def group_label(value: pl.Expr) -> pl.Expr:
    """What the group of a value is called: a text that says there is none is quoted, so that it is not taken for it."""
    import polars as pl

    text = value.cast(pl.String)
    return pl.when(text == NO_VALUE).then(pl.lit(f'"{NO_VALUE}"')).otherwise(text).fill_null(NO_VALUE)


def _in_time(label: pl.Expr, bucket: Bucket, zone: str, frame: pl.LazyFrame) -> pl.Expr:
    """The day, or the week's Monday."""
    import polars as pl

    [name] = label.meta.root_names()
    is_timestamp = isinstance(frame.collect_schema()[name], pl.Datetime)
    day = local_days(label, zone) if is_timestamp else label
    return day.dt.truncate("1w") if bucket is Bucket.WEEK else day


def local_days(moments: pl.Expr, zone: str) -> pl.Expr:
    """The days that the zone's clocks show; in UTC where the year there is 0 or 10000, which nothing can label."""
    import polars as pl

    local = moments.dt.convert_time_zone(zone).dt.replace_time_zone(None)
    return pl.when(local.dt.year().is_between(1, 9999)).then(local.dt.date()).otherwise(moments.dt.date())


def _number(measure: Measure, schema: pl.Schema) -> pl.Expr:
    import polars as pl

    counted = pl.lit(True)
    present = pl.col(measure.column).is_not_null() if measure.column else pl.lit(True)
    if measure.only is not None:
        column, values = measure.only
        counted = pl.col(column).cast(pl.String).is_in(list(values)).fill_null(False)
    match measure.aggregate:
        case Aggregate.COUNT:
            return (counted & present).sum() if measure.columns else pl.len()
        case Aggregate.SHARE:
            return counted.filter(present).cast(pl.Float64).mean()
        case Aggregate.SUM:
            summed = pl.col(measure.column)
            if schema[measure.column].is_integer():
                summed = summed.cast(pl.Int128)  # a sum of 64 bits would begin again below zero
            return summed.filter(counted).sum()
        case Aggregate.MEAN:
            return pl.col(measure.column).filter(counted).mean()


def _as_number(number: object) -> float | None:
    """A whole number as it is: a float has 15 digits. None for what cannot be drawn: NaN and infinity."""
    if number is None or isinstance(number, int):
        return number
    found = float(number)  # type: ignore[arg-type]
    return found if math.isfinite(found) else None
