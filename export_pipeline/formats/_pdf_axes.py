"""What a line's axes show: the days, weeks or months that it goes through, and round numbers beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime

from export_pipeline.formats._figures import Series
from export_pipeline.model.report import Aggregate, Bucket

_TIME_TICKS = 6
#: Days without rows are shown as 0, but not over centuries that a wrong date would open.
_MOST_DAYS = 4_000


def in_time(series: Series) -> list[tuple[date, float | None]]:
    """The series by date, and 0 for days, weeks or months between without rows, where numbers are counts or sums."""
    monthly = series.chart.bucket is Bucket.MONTH
    found = {
        date.fromisoformat(label + "-01" if monthly else label): value
        for label, value in zip(series.labels, series.values, strict=True)
    }
    adds_up = series.chart.measure.aggregate in (Aggregate.COUNT, Aggregate.SUM)
    if not found or not adds_up or (max(found) - min(found)).days > _MOST_DAYS:
        return list(found.items())
    return [(day, found.get(day, 0.0)) for day in _between(min(found), max(found), series.chart.bucket)]


def _between(first: date, last: date, bucket: Bucket) -> list[date]:
    """The days, Mondays or first days of months, both ends included."""
    if bucket is Bucket.MONTH:
        months = range(12 * first.year + first.month - 1, 12 * last.year + last.month)
        return [date(month // 12, month % 12 + 1, 1) for month in months]
    step = 7 if bucket is Bucket.WEEK else 1
    return [date.fromordinal(day) for day in range(first.toordinal(), last.toordinal() + 1, step)]


def chosen(days: Sequence[int]) -> list[int]:
    """At most so many of them, evenly, the first and the last included."""
    if len(days) <= _TIME_TICKS:
        return list(days)
    step = (len(days) - 1) / (_TIME_TICKS - 1)
    return [days[round(index * step)] for index in range(_TIME_TICKS)]


def milliseconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


def ticks_of(values: Sequence[float]) -> list[float]:
    """Round numbers from below the least value to above the greatest, 0 among them; the farther end has four."""
    highest, deepest = max(0.0, *values), max(0.0, *(-value for value in values))
    step = _nice(max(highest, deepest) or 1.0) / 4
    above = 4 if highest >= deepest else math.ceil(highest / step)
    below = 4 if deepest > highest else math.ceil(deepest / step)
    return [step * tick for tick in range(-below, above + 1)]


def _nice(value: float) -> float:
    """The next round number above, which quarters well."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if value <= step * power * 1.000001)
