"""The labels of an axis of time: evenly by time, however the points lie, and only as many as have room."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date

from export_pipeline.formats._pdf_words import Words, axis_label

_MOST = 6
#: Between two labels, in characters.
_GAP = 2


def time_ticks(
    words: Words, days: Sequence[date], *, monthly: bool, room: Callable[[int], int]
) -> list[tuple[date, str]]:
    """Days or months between the first and the last of the `days`, both included, with their labels, which name the
    year where it changes; `room` tells how many labels of so many characters stand beside each other."""
    first, last = min(days), max(days)

    def label(day: date) -> str:
        return axis_label(words, day, monthly=monthly, year=first.year != last.year)

    # The points of weeks are seven days apart, and so are their labels.
    step = math.gcd(*((day - first).days for day in days)) or 1
    steps = _months(first, last) if monthly else (last - first).days // step
    count = min(_MOST, steps + 1, max(2, room(max(len(label(day)) for day in days) + _GAP)))
    chosen = [round(place * steps / (count - 1)) for place in range(count)] if count > 1 else [0]
    shown = [_month_after(first, at) if monthly else date.fromordinal(first.toordinal() + at * step) for at in chosen]
    return [(day, label(day)) for day in shown]


def _months(first: date, last: date) -> int:
    return 12 * (last.year - first.year) + last.month - first.month


def _month_after(first: date, months: int) -> date:
    years, month = divmod(first.month - 1 + months, 12)
    return date(first.year + years, month + 1, 1)
