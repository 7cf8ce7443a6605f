"""The rows of a detailed report as cells of text: which columns fit, how wide they are, how each value is written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from export_pipeline.formats._pdf_numbers import floating, number
from export_pipeline.formats._pdf_words import Words
from export_pipeline.model.dataset import Column, Kind

if TYPE_CHECKING:
    import polars as pl

#: More make a PDF slow and large, and nobody reads them: 20,000 rows took 13 s and 1.8 GB.
MOST_ROWS = 2_000
#: A text longer than this is cut in a cell.
MOST_CHARACTERS = 48
#: Characters that fit across the page beside each other in the table's small type, upright and across.
_WIDTHS = {False: 150, True: 225}
#: More columns would be too small to read, and too much memory at the most rows.
_MOST_COLUMNS = 16
#: A column of texts is at most this wide: they then take several lines.
_WIDEST = 26
_NARROWEST = 5
_NUMBERS = (Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT)


@dataclass(frozen=True)
class Table:
    """The cells, and what the page says around them: values that are the same in every row, columns without room.
    `height` is how many rows there are, also where no column has anything to tell them apart."""

    columns: tuple[Column, ...]
    widths: tuple[int, ...]
    height: int
    rows: tuple[tuple[str, ...], ...]
    constant: tuple[tuple[str, str], ...]
    left_out: tuple[str, ...]
    across: bool
    shortened: bool

    @property
    def numbers(self) -> tuple[bool, ...]:
        """Which columns are numbers, to be set flush right."""
        return tuple(column.type.kind in _NUMBERS for column in self.columns)


def make_table(frame: pl.DataFrame, columns: tuple[Column, ...], words: Words, zone: str) -> Table:
    """The frame's rows as a table that fits the page, which is turned where the columns need it."""
    texts = [
        [_cell(value, column, words, ZoneInfo(zone)) for value in values]
        for column, values in zip(columns, frame.get_columns(), strict=True)
    ]
    same = [frame.height > 1 and len(set(column)) == 1 for column in texts]
    constant = tuple(
        (column.name, _shortened(cells[0], column))
        for column, cells, is_same in zip(columns, texts, same, strict=True)
        if is_same and cells[0]
    )
    candidates = [index for index, is_same in enumerate(same) if not is_same]
    widths = {index: _width(columns[index], texts[index]) for index in candidates}
    across = sum(widths.values()) > _WIDTHS[False]
    shown: list[int] = []
    room = _WIDTHS[across]
    for index in candidates:
        if not shown or (widths[index] <= room and len(shown) < _MOST_COLUMNS):
            shown.append(index)
            room -= widths[index]
    return Table(
        columns=tuple(columns[index] for index in shown),
        widths=tuple(widths[index] for index in shown),
        height=frame.height,
        rows=tuple(zip(*([_shortened(text, columns[index]) for text in texts[index]] for index in shown), strict=True)),
        constant=constant,
        left_out=tuple(columns[index].name for index in candidates if index not in shown),
        across=across,
        shortened=any(_shortened(text, columns[index]) != text for index in shown for text in texts[index]),
    )


def _width(column: Column, cells: list[str]) -> int:
    longest_word = max(len(part) for part in column.name.split("_")) + 1
    longest = max((len(_shortened(text, column)) for text in cells), default=0)
    # A number has one line.
    widest = longest if column.type.kind in _NUMBERS else min(longest, _WIDEST - 1)
    return max(_NARROWEST, longest_word, widest + 1)


def _shortened(text: str, column: Column) -> str:
    # A number is never cut: it would be another one.
    if len(text) <= MOST_CHARACTERS or column.type.kind in _NUMBERS:
        return text
    return text[: MOST_CHARACTERS - 1].rstrip() + "…"


def _cell(value: Any, column: Column, words: Words, zone: ZoneInfo) -> str:
    if isinstance(value, bool):
        return words.yes if value else words.no
    if isinstance(value, int | Decimal):
        return number(words, value, column.type.scale)
    if isinstance(value, float):
        return floating(words, value)
    if isinstance(value, datetime):
        return _moment(value, words, zone)
    if isinstance(value, date):
        return _dated(value, words)
    return "" if value is None else " ".join(str(value).split())


def _moment(value: datetime, words: Words, zone: ZoneInfo) -> str:
    try:
        local, suffix = value.astimezone(zone), ""
    except OverflowError:  # the zone's clocks show a year before 1 or after 9999
        local, suffix = value, " UTC"
    return f"{_dated(local, words)} {local:%H:%M:%S}{suffix}"


def _dated(value: date, words: Words) -> str:
    # Some systems write a year before 1000 without its zeros.
    return value.strftime(words.short_date.replace("%Y", f"{value.year:04}"))
