"""From typed columns to what an Excel cell can hold, batch by batch.

A cell's number is a double of which Excel shows and keeps 15 digits, its dates begin on 1900-03-01 (before, its
calendar is wrong) and end with the year 9999. One rule for what lies outside: the cell is a text with the exact value.
Timestamps are exact to the microsecond until 2079; Excel itself shows and computes milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from export_pipeline.formats._locale import LOCALES, Locale
from export_pipeline.model.dataset import Column, Kind
from export_pipeline.model.errors import Rejected

if TYPE_CHECKING:
    import polars as pl

#: The longest text of a cell, in UTF-16 code units: an emoji counts two.
MAX_TEXT_UNITS = 32_767
CUT_MARK = " … [cut]"
_EXACT_DIGITS = 15

_EPOCH_DAY = 25_569  # 1970-01-01 as Excel counts days
_DAY_MICROSECONDS = 86_400_000_000
_FIRST_DAY = 61  # 1900-03-01
_END_DAY = 2_958_466  # 10000-01-01

#: Turns a batch's column, and the number of rows before the batch, into cells: a series of texts, numbers or booleans,
#: or a list where some are texts and some are not.
Cells = Callable[["pl.Series", int], "pl.Series | list[Any]"]


def cells_of(column: Column, *, zone: str, truncate: bool) -> Cells:
    """How the column's values become cells: `zone` (IANA) is what timestamps are shown in, `truncate` whether an
    over-long text is cut, and marked, instead of refused. The result raises Rejected, naming row and column."""
    simple: dict[Kind, Cells] = {
        Kind.INTEGER: _integers,
        Kind.DECIMAL: _decimals(column.type.precision, column.type.scale),
        Kind.FLOAT: _floats,
        Kind.BOOLEAN: lambda values, _: values,
        Kind.DATE: _dates,
        Kind.TIMESTAMP: _timestamps(zone),
    }
    return simple.get(column.type.kind) or _texts(column.name, truncate)


def number_format(column: Column, locale: Locale | None = None) -> str | None:
    """How Excel shows the column's numbers: as its dataset says, else by its type, dates as the locale has them; None
    for Excel's general way."""
    if column.number_format:
        return column.number_format
    match column.type.kind:
        case Kind.INTEGER:
            return "0"
        case Kind.DECIMAL:
            return f"0.{'0' * column.type.scale}" if column.type.scale else "0"
        case Kind.DATE:
            return LOCALES[locale or "en"].excel_date
        case Kind.TIMESTAMP:
            return f"{LOCALES[locale or 'en'].excel_date} hh:mm:ss"
        case _:
            return None


def utf16_units(text: str) -> int:
    """The text's length as Excel counts it."""
    return len(text) + sum(character > "\uffff" for character in text)


def cut(text: str, units: int, mark: str = "") -> str:
    """The text, or its beginning and the mark, in at most `units` UTF-16 code units; no character is cut in two."""
    if utf16_units(text) <= units:
        return text
    head = text.encode("utf-16-le")[: 2 * (units - utf16_units(mark))]
    return head.decode("utf-16-le", errors="ignore") + mark


def _texts(name: str, truncate: bool) -> Cells:
    def cells(values: pl.Series, rows_before: int) -> pl.Series | list[Any]:
        # UTF-8 never takes fewer bytes than UTF-16 takes units.
        if int(values.str.len_bytes().max() or 0) <= MAX_TEXT_UNITS:  # type: ignore[arg-type]
            return values
        texts: list[Any] = values.to_list()
        for index, text in enumerate(texts):
            if text is None or utf16_units(text) <= MAX_TEXT_UNITS:
                continue
            if not truncate:
                raise Rejected(
                    f"row {rows_before + index + 1:,}: {name} has {utf16_units(text):,} characters and an Excel cell "
                    f"holds {MAX_TEXT_UNITS:,}; take CSV or Parquet, leave the column out, or have it cut with the "
                    "option overlong=truncate"
                )
            texts[index] = cut(text, MAX_TEXT_UNITS, CUT_MARK)
        return texts

    return cells


def _integers(values: pl.Series, _: int) -> pl.Series | list[Any]:
    limit = 10**_EXACT_DIGITS
    if _within(values, -limit + 1, limit - 1):
        return values
    return [value if value is None or -limit < value < limit else str(value) for value in values.to_list()]


def _decimals(precision: int, scale: int) -> Cells:
    def cells(values: pl.Series, _: int) -> pl.Series | list[Any]:
        import polars as pl

        # Up to here, unscaled value and power of ten are exact doubles, so that the division rounds correctly.
        numbers = values.cast(pl.Float64) if scale <= _EXACT_DIGITS else None
        if numbers is not None:
            limit = math.nextafter(10.0 ** (_EXACT_DIGITS - scale), 0)
            if precision <= _EXACT_DIGITS or _within(numbers, -limit, limit):
                return numbers
        return [value if value is None else _decimal_cell(value) for value in values.to_list()]

    return cells


def _decimal_cell(value: Decimal) -> float | str:
    digits = "".join(map(str, value.as_tuple().digits)).strip("0")
    return float(value) if len(digits) <= _EXACT_DIGITS else f"{value:f}"


def _floats(values: pl.Series, _: int) -> pl.Series | list[Any]:
    if values.is_finite().all():
        return values
    return [value if value is None or math.isfinite(value) else _not_finite(value) for value in values.to_list()]


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _dates(values: pl.Series, _: int) -> pl.Series | list[Any]:
    days = values.to_physical() + _EPOCH_DAY
    if _within(days, _FIRST_DAY, _END_DAY - 1):
        return days
    return _patched(days, values.dt.strftime("%Y-%m-%d"))


def _timestamps(zone: str) -> Cells:
    def cells(values: pl.Series, _: int) -> pl.Series | list[Any]:
        import polars as pl

        local = values if zone == "UTC" else values.dt.convert_time_zone(zone)
        # Whole microseconds first, one division last: a serial number is then exact to the microsecond until 2079.
        wall_clock = local.dt.replace_time_zone(None).to_physical() + _EPOCH_DAY * _DAY_MICROSECONDS
        serials = wall_clock.cast(pl.Float64) / _DAY_MICROSECONDS
        if _within(serials, _FIRST_DAY, math.nextafter(_END_DAY, 0)):
            return serials
        return _patched(serials, values.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))

    return cells


def _patched(serials: pl.Series, texts: pl.Series) -> list[Any]:
    """The serial numbers, and the texts in place of those that Excel's calendar lacks."""
    return [
        text if serial is not None and not _FIRST_DAY <= serial < _END_DAY else serial
        for serial, text in zip(serials.to_list(), texts.to_list(), strict=True)
    ]


def _within(values: pl.Series, lowest: float, highest: float) -> bool:
    least, greatest = values.min(), values.max()
    return least is None or bool(least >= lowest and greatest <= highest)  # type: ignore[operator]
