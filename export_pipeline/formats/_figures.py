"""Computes what a dataset's report declares from rows read as a stream: memory grows with groups, not with rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from export_pipeline.formats._sink import surfacing
from export_pipeline.model.report import Aggregate, Bucket, Chart, Measure, Report

if TYPE_CHECKING:
    import polars as pl

#: The group of rows without a value.
NO_VALUE = "(none)"
_FORMATS = {Bucket.DAY: "%Y-%m-%d", Bucket.MONTH: "%Y-%m"}


@dataclass(frozen=True)
class Series:
    """A chart's numbers: each group's label and its number, in the order to draw. No number: no row counted."""

    chart: Chart
    labels: tuple[str, ...]
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Figures:
    """The report's numbers for one set of rows."""

    rows: int
    figures: tuple[tuple[Measure, float | None], ...]
    series: tuple[Series, ...]


def compute(frame: pl.LazyFrame, report: Report, *, zone: str = "UTC") -> Figures:
    """The report's numbers for the frame's rows; `zone` (IANA) is whose days and months are counted. The frame is read
    once for all of them where the engine can."""
    import polars as pl

    totals = frame.select(
        pl.len().alias("rows"), *(_number(figure).alias(str(n)) for n, figure in enumerate(report.figures))
    )
    groups = [_grouped(frame, chart, zone) for chart in report.charts]
    with surfacing():
        total, *found = pl.collect_all([totals, *groups], engine="streaming")
    row = total.row(0)
    return Figures(
        rows=int(row[0]),
        figures=tuple(zip(report.figures, map(_as_float, row[1:]), strict=True)),
        series=tuple(
            Series(chart, tuple(group["label"].to_list()), tuple(map(_as_float, group["number"].to_list())))
            for chart, group in zip(report.charts, found, strict=True)
        ),
    )


def _grouped(frame: pl.LazyFrame, chart: Chart, zone: str) -> pl.LazyFrame:
    import polars as pl

    label = pl.col(chart.by)
    if chart.bucket is Bucket.VALUE:
        grouped = frame.group_by(label.cast(pl.String).fill_null(NO_VALUE).alias("label"))
        order = ["number", "label"]
    else:
        frame = frame.filter(label.is_not_null())
        grouped = frame.group_by(_in_time(label, chart.bucket, zone, frame).alias("label"))
        order = ["label"]
    numbers = grouped.agg(_number(chart.measure).alias("number"))
    return numbers.sort(order, descending=[name == "number" for name in order], nulls_last=True)


def _in_time(label: pl.Expr, bucket: Bucket, zone: str, frame: pl.LazyFrame) -> pl.Expr:
    import polars as pl

    [name] = label.meta.root_names()
    is_timestamp = isinstance(frame.collect_schema()[name], pl.Datetime)
    return (label.dt.convert_time_zone(zone) if is_timestamp else label).dt.strftime(_FORMATS[bucket])


def _number(measure: Measure) -> pl.Expr:
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
            return pl.col(measure.column).filter(counted).sum()
        case Aggregate.MEAN:
            return pl.col(measure.column).filter(counted).mean()


def _as_float(number: object) -> float | None:
    return None if number is None else float(number)  # type: ignore[arg-type]
