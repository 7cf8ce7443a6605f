"""What a line's axes show: the days, weeks or months that it goes through (labelled by `_pdf_ticks.py`), and round
numbers beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime

from export_pipeline.formats._figures import Series
from export_pipeline.model.report import Bucket

#: Of numbers on an axis: more would leave no room for the plot.
_MOST_DECIMALS, _MOST_WRITTEN_OUT = 8, 1e21


def in_time(series: Series) -> list[tuple[date, float | None]]:
    """The series by date, a month by its first day; numbers as Vega-Lite has them, which refuses longer integers."""
    monthly = series.chart.bucket is Bucket.MONTH
    return [
        (date.fromisoformat(label + "-01" if monthly else label), None if value is None else float(value))
        for label, value in zip(series.labels, series.values, strict=True)
    ]


def milliseconds(day: date) -> int:
    """The day's beginning, as Vega-Lite counts time."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


def ticks_of(values: Sequence[float], *, whole: bool = False) -> list[float]:
    """Round numbers from below the least value to above the greatest, 0 among them; the farther end has four. With a
    step over 1, and where the values are `whole`, they are whole."""
    highest, deepest = max(0.0, *values), max(0.0, *(-value for value in values))
    step = _nice(max(highest, deepest) or 1.0) / 4
    if whole or step > 1:
        step = float(math.ceil(step))
    above = 4 if highest >= deepest else math.ceil(highest / step)
    below = 4 if deepest > highest else math.ceil(deepest / step)
    return [step * tick for tick in range(-below, above + 1)]


def number_format(ticks: Sequence[float], *, share: bool = False) -> str:
    """How numbers on an axis are written (as d3 has it): with so many decimals that no two are alike, with a power of
    ten where those or the digits would be too many."""
    step = (ticks[1] - ticks[0]) * (100 if share else 1)
    decimals = next((n for n in range(_MOST_DECIMALS + 1) if math.isclose(round(step, n), step, rel_tol=1e-6)), None)
    if decimals is None or max(map(abs, ticks)) >= _MOST_WRITTEN_OUT:
        return ".2~e"
    return f".{decimals}%" if share else f",.{decimals}f"


def _nice(value: float) -> float:
    """The next round number above, which quarters well."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if value <= step * power * 1.000001)
