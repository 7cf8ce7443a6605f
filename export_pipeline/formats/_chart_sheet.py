"""The sheet of a dataset's charts: Excel's own, below each other, and at their right the numbers that they are drawn
from, in cells, so that whoever gets the workbook can change both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from export_pipeline.formats._cells import CUT_MARK, cut
from export_pipeline.formats._figures import Figures, Series
from export_pipeline.formats._locale import LOCALES, Locale
from export_pipeline.formats._summary_sheet import measure_format
from export_pipeline.model.report import Bucket, ChartKind

if TYPE_CHECKING:
    from xlsxwriter.format import Format
    from xlsxwriter.workbook import Workbook, Worksheet

#: More groups than these cannot be told apart; the others are one group, or left out where numbers do not add up.
MOST_GROUPS = {ChartKind.PIE: 8, ChartKind.BAR: 20, ChartKind.LINE: 20}
OTHERS = "(others)"

_CHART_WIDTH, _CHART_HEIGHT = 760, 340  # pixels
_CHART_LINES = 18  # of 20 pixels each, one of them left free
#: Of a group's name: longer ones leave no room for the bars, and LibreOffice lays out one of 32,767 for minutes.
_MOST_LABEL_UNITS = 60
_FIRST_NUMBERS = 12  # the column right of the charts
_TYPES = {ChartKind.BAR: "bar", ChartKind.LINE: "line", ChartKind.PIE: "pie"}
_IN_TIME = {
    Bucket.DAY: ("%Y-%m-%d", "yyyy-mm-dd"),
    Bucket.WEEK: ("%Y-%m-%d", "yyyy-mm-dd"),
    Bucket.MONTH: ("%Y-%m", "yyyy-mm"),
}
_COLOR = "#2F75B5"
#: The columns of an interval: its ends, and how far they are from the value.
_INTERVAL = ("from", "to", "below", "above")


def drawn(figures: Figures) -> list[Series]:
    """The charts that have something to show, with the groups that they show."""
    return [shown for shown in map(_groups_drawn, figures.series) if shown.values]


def add_charts(book: Workbook, name: str, charts: Sequence[Series], locale: Locale | None = None) -> None:
    """Adds the sheet, with these charts; `locale` is how days are written."""
    sheet = book.add_worksheet(name)
    sheet.hide_gridlines(2)
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
    grouped = [shown for shown in charts if not shown.bounds]
    for number, shown in enumerate(charts):
        line = number * _CHART_LINES
        # Groups may be long, and start at the top, each in columns of its own; few single rows stand at their chart.
        first, place = (line, len(grouped)) if shown.bounds else (0, grouped.index(shown))
        column = _FIRST_NUMBERS + 3 * place
        _write_numbers(book, sheet, shown, (first, column), locale)
        _insert_chart(book, sheet, shown, line, (first, column), locale=locale)


def _groups_drawn(series: Series) -> Series:
    """The groups that are drawn: all of them in time; the greatest by value, the others together."""
    if series.chart.kind is ChartKind.PIE and series.has_negative:
        series = replace(series, chart=replace(series.chart, kind=ChartKind.BAR))
    if series.period:
        title = f"{series.chart.title} (here by {series.chart.bucket.value})"
        series = replace(series, chart=replace(series.chart, title=title))
    chart, most = series.chart, MOST_GROUPS[series.chart.kind]
    if chart.interval:
        return _in_part(series, series.total)
    if chart.bucket is Bucket.VALUE:
        # A group without anything to count would be a bar or slice that is not there; a mean of 0 is one.
        pairs = zip(series.labels, series.values, strict=True)
        shown = [pair for pair in pairs if pair[1] or (pair[1] is not None and not chart.measure.adds_up)]
        series = Series(chart, tuple(label for label, _ in shown), tuple(value for _, value in shown))
    if chart.bucket is not Bucket.VALUE or len(series.labels) <= most:
        return series
    labels, values = series.labels[: most - 1], series.values[: most - 1]
    if chart.measure.adds_up:
        rest = sum(value for value in series.values[most - 1 :] if value is not None)
        return Series(chart, (*labels, OTHERS), (*values, rest))
    return _in_part(Series(chart, labels, values), len(series.labels))


def _in_part(series: Series, total: int) -> Series:
    """The series, whose title says so where there are more than it draws."""
    drawn = len(series.labels)
    part = f" (first of {total:,})" if drawn == 1 else f" (first {drawn:,} of {total:,})"
    return replace(series, chart=replace(series.chart, title=series.chart.title + part * (drawn < total)))


def _write_numbers(
    book: Workbook, sheet: Worksheet, series: Series, at: tuple[int, int], locale: Locale | None
) -> None:
    """Writes a chart's numbers, their title into the cell `at` a line and column, counted from 0."""
    chart, (first, column) = series.chart, at
    heading = book.add_format({"bold": True, "bottom": 1, "bottom_color": "#808080"})
    style = book.add_format({"num_format": measure_format(chart.measure)})
    sheet.set_column(column, column, 24)
    sheet.set_column(column + 1, column + 1, 18)
    sheet.set_column(column + 2, column + 2, 4)
    sheet.write_string(first, column, chart.title, book.add_format({"bold": True, "font_size": 12}))
    sheet.write_string(
        first + 1, column, chart.by if chart.bucket is Bucket.VALUE else chart.bucket.value.title(), heading
    )
    right = book.add_format({"bold": True, "bottom": 1, "bottom_color": "#808080", "align": "right"})
    sheet.write_string(first + 1, column + 1, chart.measure.title, right)
    if series.bounds:
        _write_interval(sheet, series, (first, column + 2), right, style)
    in_time = _IN_TIME.get(chart.bucket)
    shown = book.add_format({"num_format": _date_format(chart.bucket, locale), "align": "left"}) if in_time else None
    for line, (label, value) in enumerate(zip(series.labels, series.values, strict=True), start=first + 2):
        moment = datetime.strptime(label, in_time[0]) if in_time else None
        if moment is not None and moment.year >= 1901:  # Excel's calendar is wrong before
            sheet.write_datetime(line, column, moment, shown)
        else:
            sheet.write_string(line, column, cut(label, _MOST_LABEL_UNITS, CUT_MARK))
        if value is not None:
            sheet.write_number(line, column + 1, value, style)


def _write_interval(sheet: Worksheet, series: Series, at: tuple[int, int], heading: Format, style: Format) -> None:
    """Where each interval begins and ends, and how far that is from the value, which error bars are made of: as
    formulas, so that the bars follow the numbers."""
    from xlsxwriter.utility import xl_rowcol_to_cell

    first, column = at
    last = column + len(_INTERVAL)
    sheet.set_column(column, last - 1, 10)
    sheet.set_column(last, last, 4)
    for place, name in enumerate(_INTERVAL):
        sheet.write_string(first + 1, column + place, name, heading)
    for line, (value, bounds) in enumerate(zip(series.values, series.bounds, strict=True), start=first + 2):
        if value is None or bounds is None:
            continue
        number, low, high = (xl_rowcol_to_cell(line, column + place) for place in (-1, 0, 1))
        sheet.write_number(line, column, bounds[0], style)
        sheet.write_number(line, column + 1, bounds[1], style)
        sheet.write_formula(line, column + 2, f"={number}-{low}", style, value - bounds[0])
        sheet.write_formula(line, column + 3, f"={high}-{number}", style, bounds[1] - value)


def _insert_chart(
    book: Workbook, sheet: Worksheet, series: Series, line: int, at: tuple[int, int], *, locale: Locale | None
) -> None:
    chart, (first, column), last = series.chart, at, at[0] + len(series.labels) + 1
    excel_chart = book.add_chart({"type": _TYPES[chart.kind]})
    options: dict[str, Any] = {
        "name": chart.measure.title,
        "categories": [sheet.get_name(), first + 2, column, last, column],
        "values": [sheet.get_name(), first + 2, column + 1, last, column + 1],
    }
    shown = measure_format(chart.measure)
    if chart.kind is ChartKind.PIE:
        options["data_labels"] = {"percentage": True, "leader_lines": True, "position": "best_fit"}
        excel_chart.set_legend({"position": "right"})
    else:
        color = {"color": _COLOR}
        few = chart.kind is ChartKind.LINE and len(series.labels) <= 60
        options |= {"line": {**color, "width": 1.75}} if chart.kind is ChartKind.LINE else {"fill": color, "gap": 40}
        options |= {"marker": {"type": "circle", "size": 4, "fill": color, "border": color}} if few else {}
        if series.bounds:
            options["y_error_bars"] = _error_bars(sheet, series, first, column + 4)
        elif chart.kind is ChartKind.BAR:
            options["data_labels"] = {"value": True, "num_format": shown}
        excel_chart.set_legend({"none": True})
        numbers = {
            "name": chart.measure.title,
            "num_format": shown,
            "min": None if series.has_negative else 0,
            "major_gridlines": {"visible": True, "line": {"color": "#D9D9D9"}},
            "line": {"none": True},
        }
        if chart.kind is ChartKind.BAR:
            # Bars lie: their groups are below each other, the greatest on top, their numbers at their ends.
            # Their names stand at the edge: at 0 bars of negative numbers would lie over them.
            excel_chart.set_y_axis(_label_axis(series, locale) | {"reverse": True, "label_position": "low"})
            hidden = {"visible": False, "major_gridlines": {"visible": False}}
            # A number would lie under its error bar: there the axis says it, below.
            said = {"label_position": "high"} | _reach(series)
            excel_chart.set_x_axis(numbers | (said if series.bounds else hidden))
        else:
            excel_chart.set_x_axis(_label_axis(series, locale))
            excel_chart.set_y_axis(numbers)
    excel_chart.add_series(options)
    excel_chart.set_title({"name": chart.title, "overlay": False, "name_font": {"size": 14}})
    excel_chart.set_size({"width": _CHART_WIDTH, "height": _CHART_HEIGHT})
    sheet.insert_chart(line, 0, excel_chart, {"description": f"{chart.title}: {chart.measure.title} by {chart.by}"})


def _reach(series: Series) -> dict[str, float]:
    """An axis that holds 0 and all intervals, up to round numbers: spreadsheets look at the values alone."""
    ends = [end for bounds in series.bounds if bounds for end in bounds]
    farthest = max(map(abs, ends), default=0.0)
    if not farthest:
        return {}
    step = 10.0 ** math.floor(math.log10(farthest)) / 2
    return {
        "min": step * min(0, math.floor(min(ends) / step)),
        "max": step * max(0, math.ceil(max(ends) / step)),
    }


def _error_bars(sheet: Worksheet, series: Series, first: int, column: int) -> dict[str, Any]:
    from xlsxwriter.utility import xl_range_formula

    bounds = list(zip(series.values, series.bounds, strict=True))
    minus = [None if value is None or ends is None else value - ends[0] for value, ends in bounds]
    plus = [None if value is None or ends is None else ends[1] - value for value, ends in bounds]
    last = first + len(series.labels) + 1
    return {
        "type": "custom",
        "minus_values": xl_range_formula(sheet.get_name(), first + 2, column, last, column),
        "minus_data": minus,
        "plus_values": xl_range_formula(sheet.get_name(), first + 2, column + 1, last, column + 1),
        "plus_data": plus,
        "line": {"color": "#404040", "width": 1.25},
    }


def _label_axis(series: Series, locale: Locale | None) -> dict[str, Any]:
    chart = series.chart
    if chart.bucket is Bucket.VALUE:
        return {"major_gridlines": {"visible": False}}
    return {"date_axis": True, "num_format": _date_format(chart.bucket, locale), "num_font": {"rotation": -45}}


def _date_format(bucket: Bucket, locale: Locale | None) -> str:
    """How Excel shows a group in time: a month is the same in every locale, year and month."""
    pattern = _IN_TIME[bucket][1]
    return LOCALES[locale].excel_date if locale and "dd" in pattern else pattern
