"""The subjects of a comparison: which there are, their figures, and what of the differences is more than chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from export_pipeline.formats._figures import NO_VALUE, Figures, coarsened, compute, group_label, local_days
from export_pipeline.formats._significance import (
    ALPHA,
    Rate,
    Sample,
    compare_means,
    compare_rates,
    holm,
    mean_interval,
    rate_interval,
)
from export_pipeline.model.dataset import Column, Kind
from export_pipeline.model.errors import Rejected
from export_pipeline.model.report import Aggregate, Measure, Report

if TYPE_CHECKING:
    import polars as pl

FEWEST, MOST = 2, 6
#: So much of an id tells subjects of one name apart, as far as it does, and so much of the name has room before it.
_ID_CHARACTERS, _NAME_CHARACTERS = 8, 48
#: The column that the subject's label is put into; no dataset's column is named so.
_LABEL = "\x00subject"


@dataclass(frozen=True)
class Finding:
    """One figure of one subject: its interval of 95 % and the corrected p-value against the first subject, where the
    figure is a rate or mean. `too_few`: there is nothing to test with; `no_variation`: enough, but all alike."""

    value: float | None
    bounds: tuple[float, float] | None = None
    p: float | None = None
    too_few: bool = False
    no_variation: bool = False
    higher: bool = False

    @property
    def significant(self) -> bool:
        """Whether it differs from the first by more than chance."""
        return self.p is not None and self.p < ALPHA


@dataclass(frozen=True)
class Comparison:
    """The subjects in the order of their first row, each with its numbers, and the findings by figure and subject."""

    subjects: tuple[str, ...]
    figures: tuple[Figures, ...]
    findings: tuple[tuple[Finding, ...], ...]


def labelled(staged: Path, column: Column, zone: str, key: str = "") -> pl.LazyFrame:
    """The staged rows with the subject that each belongs to: the column's value, or the month of a date. Those of one
    name are told apart by the column `key`, where there is one."""
    import polars as pl

    frame, label = pl.scan_ipc(staged), pl.col(column.name)
    if column.type.kind is Kind.TIMESTAMP:
        label = local_days(label, zone)
    if column.type.kind in (Kind.TIMESTAMP, Kind.DATE):
        # Rows without a time belong to no period.
        return frame.filter(pl.col(column.name).is_not_null()).with_columns(label.dt.strftime("%Y-%m").alias(_LABEL))
    named = frame.with_columns(group_label(label).alias(_LABEL))
    return _told_apart(named, key) if key else named


def _told_apart(frame: pl.LazyFrame, key: str) -> pl.LazyFrame:
    """The labelled rows, each label that has several keys with these behind it, shortened where they still differ."""
    import polars as pl

    label, whole = pl.col(_LABEL), pl.col(key).cast(pl.String).fill_null(NO_VALUE)
    short = whole.str.slice(0, _ID_CHARACTERS)
    keys = frame.group_by(label).agg(whole.n_unique().alias("keys"), short.n_unique().alias("short"))
    shared = keys.filter(pl.col("keys") > 1).collect(engine="streaming")
    alike = shared.filter(pl.col("short") < pl.col("keys"))[_LABEL].to_list()
    shown = pl.when(label.is_in(alike)).then(whole).otherwise(short)
    several = label.is_in(shared[_LABEL].to_list())
    told = pl.format("{} ({})", label.str.slice(0, _NAME_CHARACTERS), shown)
    return frame.with_columns(pl.when(several).then(told).otherwise(label).alias(_LABEL))


def subjects_of(frame: pl.LazyFrame, *, by_label: bool = False) -> tuple[list[str], int]:
    """The subjects, in the order of their first row or, periods, by label: those that a comparison could hold, and how
    many there are."""
    import polars as pl

    found = frame.with_row_index("\x00row").group_by(_LABEL).agg(pl.col("\x00row").min())
    table = found.sort(_LABEL if by_label else "\x00row").collect(engine="streaming")
    return table[_LABEL].head(MOST).to_list(), table.height


def compare(
    frame: pl.LazyFrame,
    report: Report,
    column: Column,
    *,
    zone: str,
    still_wanted: Callable[[], object],
    asked: Collection[str] = (),
) -> Comparison:
    """The comparison of a labelled frame's subjects; `asked` are the ids of those that were asked for, if any were.
    Raises Rejected where there are fewer than two or more than six, fewer than were asked for, or nothing of them to
    compare."""
    import polars as pl

    if not report.figures:
        raise Rejected(
            "there are no key figures to compare: the dataset declares none for such a comparison, or their columns "
            "are not in the file; leave the option compare_by out, choose more columns, or ask for "
            "report=detailed_results, which has the rows"
        )
    names, count = subjects_of(frame, by_label=column.type.kind in (Kind.TIMESTAMP, Kind.DATE))
    if count < len(asked):
        raise Rejected(
            f"{len(asked):,} values of {report.subject_filter} were asked for, and the rows have {count:,} of "
            f"{column.name}: several have the same and would be counted as one, or have no rows; choose others by the "
            f"filter {report.subject_filter}, or a dataset and columns with {report.subject_filter}, which tells them "
            "apart"
        )
    if not FEWEST <= count <= MOST:
        raise Rejected(
            f"a comparison needs {FEWEST} to {MOST} different values of {column.name}, and the rows have {count:,}; "
            "choose others by the filters, name another column by the option compare_by, or ask for another report"
        )
    # Single rows are in no order that subjects would share.
    report = replace(report, charts=tuple(chart for chart in report.charts if not chart.interval))
    figures, samples = [], []
    coarse = coarsened(frame, report, zone=zone)  # of all subjects, whose lines are in one chart
    for name in names:
        still_wanted()
        rows = frame.filter(pl.col(_LABEL) == name)
        figures.append(compute(rows, report, zone=zone, coarse=coarse))
        samples.append([_summary(rows, measure) for measure in report.figures])
    findings = tuple(
        tuple(_findings([figure.figures[index][1] for figure in figures], [row[index] for row in samples]))
        for index in range(len(report.figures))
    )
    return Comparison(tuple(names), tuple(figures), findings)


def _summary(rows: pl.LazyFrame, measure: Measure) -> Rate | Sample | None:
    """What a test needs of the rows, by a pass that keeps only sums."""
    import polars as pl

    if measure.aggregate not in (Aggregate.SHARE, Aggregate.MEAN):
        return None
    counted = pl.lit(True)
    if measure.only is not None:
        counted = pl.col(measure.only[0]).cast(pl.String).is_in(list(measure.only[1])).fill_null(False)
    if measure.column:
        rows = rows.filter(pl.col(measure.column).is_not_null())
    if measure.aggregate is Aggregate.SHARE:
        total, successes = rows.select(pl.len(), counted.sum().alias("successes")).collect(engine="streaming").row(0)
        return Rate(int(successes or 0), int(total))
    values = pl.col(measure.column).cast(pl.Float64)
    # Sums of equal values are not exact, and the deviation would be what their rounding left.
    deviation = pl.when(values.min() == values.max(), values.count() > 1).then(0.0).otherwise(values.std())
    selected = rows.filter(counted).select(pl.len(), values.mean().alias("mean"), deviation.alias("deviation"))
    return Sample(*selected.collect(engine="streaming").row(0))


def _findings(values: list[float | None], summaries: list[Rate | Sample | None]) -> list[Finding]:
    first = summaries[0]
    p_values = [None, *(_p(first, other) for other in summaries[1:])]
    return [
        Finding(
            value=value,
            bounds=_bounds(summary),
            p=p,
            too_few=index > 0 and summary is not None and p is None and not _enough(first, summary),
            no_variation=index > 0 and p is None and _enough(first, summary),
            higher=value is not None and values[0] is not None and value > values[0],
        )
        for index, (value, summary, p) in enumerate(zip(values, summaries, holm(p_values), strict=True))
    ]


def _enough(*summaries: Rate | Sample | None) -> bool:
    """Whether each has an interval, which takes two values."""
    return all(isinstance(summary, Sample) and _bounds(summary) is not None for summary in summaries)


def _p(one: Rate | Sample | None, other: Rate | Sample | None) -> float | None:
    if isinstance(one, Rate) and isinstance(other, Rate):
        return compare_rates(one, other)
    if isinstance(one, Sample) and isinstance(other, Sample):
        return compare_means(one, other)
    return None


def _bounds(summary: Rate | Sample | None) -> tuple[float, float] | None:
    if isinstance(summary, Rate):
        return rate_interval(summary)
    bounds = mean_interval(summary) if isinstance(summary, Sample) else None
    return bounds if bounds and all(map(math.isfinite, bounds)) else None
