"""The workbook without its rows, made by XlsxWriter: sheets with their headers, widths, filters and highlights, the
summary and the charts.

No rows here: `xlsx.py` streams them into the data sheets. XlsxWriter itself would take five times as long for them, and
the quicker libraries keep a workbook with charts in memory as a whole.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from export_pipeline.formats._cells import cut, number_format
from export_pipeline.formats._chart_sheet import add_charts, drawn
from export_pipeline.formats._figures import Figures
from export_pipeline.formats._locale import Locale
from export_pipeline.formats._summary_sheet import add_summary
from export_pipeline.model.dataset import Column, Kind
from export_pipeline.model.format import FileContext
from export_pipeline.model.report import Report, Tone

if TYPE_CHECKING:
    from xlsxwriter.workbook import Workbook, Worksheet

#: A sheet has 1,048,576 rows, one of them for the header.
SHEET_ROWS = 1_048_575
#: The workbook's property that tells which dataset, from 0, each data sheet is of: other sheets may begin like them.
PARTS_PROPERTY = "Datasets of the sheets"
#: Excel colors cells whenever it draws or filters them; over more rows than this, it is felt.
HIGHLIGHTED_ROWS = 200_000

_SHEET_NAME_UNITS = 31
_LEAST_WIDTHS = {Kind.UUID: 38, Kind.TIMESTAMP: 20, Kind.DATE: 12, Kind.TEXT: 14, Kind.JSON: 30}
_MOST_WIDTH = 60
#: Background and text, as Excel's own styles Good, Bad and Neutral have them.
_TONES = {Tone.GOOD: ("#C6EFCE", "#006100"), Tone.BAD: ("#FFC7CE", "#9C0006"), Tone.OPEN: ("#FFEB9C", "#7F6000")}
_BAR_COLOR = "#9DC3E6"


@dataclass(frozen=True)
class Part:
    """One dataset's rows in a workbook: the file that they are staged in, how much they are and, for a workbook with a
    report, their figures."""

    context: FileContext
    staged: Path
    rows: int
    bytes: int
    figures: Figures | None


@dataclass(frozen=True)
class DataSheet:
    """A data sheet as the template holds it: its file in the package, its part and how many of the part's rows."""

    file: str
    part: int
    rows: int


def make_template(parts: Sequence[Part], timezone: str, locale: Locale | None) -> tuple[bytes, list[DataSheet]]:
    """The workbook without rows, and its data sheets in order. A data sheet that gets rows has an empty second line,
    whose cells have the columns' styles."""
    import xlsxwriter

    data = io.BytesIO()
    sheets: list[DataSheet] = []
    names = SheetNames()
    with xlsxwriter.Workbook(data, {"in_memory": True, "strings_to_formulas": False}) as book:
        # The moment of the rows, so that the same rows make the same file.
        first = parts[0].context
        created = first.snapshot_at.replace(tzinfo=None)
        book.set_properties({"title": first.title, "created": created, "comments": f"Export {first.export_id}"})
        # The rows come first: they are what people open the file for, and what programs read, which take one sheet.
        for number, part in enumerate(parts):
            for rows in _sizes(part.rows):
                sheet = book.add_worksheet(names.unique(part.context.title))
                sheets.append(DataSheet(f"xl/worksheets/sheet{len(sheets) + 1}.xml", number, rows))
                _lay_out(book, sheet, part, rows, locale)
        book.set_custom_property(PARTS_PROPERTY, ",".join(str(sheet.part) for sheet in sheets), "text")
        reported = [(part.context, part.figures) for part in parts if part.figures is not None]
        if reported:
            add_summary(book, names.unique("Summary"), reported, timezone, locale)
        for context, figures in reported:
            if shown := drawn(figures):
                name = names.unique("Charts") if len(reported) == 1 else names.unique(context.title, " charts")
                add_charts(book, name, shown, locale)
    return data.getvalue(), sheets


class SheetNames:
    """Names as Excel allows them: at most 31 UTF-16 code units, none twice whatever its case."""

    def __init__(self) -> None:
        self._taken = {"history"}  # Excel keeps that name for itself

    def unique(self, title: str, ending: str = "") -> str:
        """The title and the ending, or what of the title can be before that in a name that is not taken yet."""
        base = re.sub(r"[\[\]:*?/\\\x00-\x1f\ufffe\uffff]+", " ", title).strip(" '") or "Sheet"
        base = "Sheet" if base.lower() == "history" else base
        number, suffix = 1, ending
        while (name := cut(base, _SHEET_NAME_UNITS - len(suffix)).rstrip(" '") + suffix).lower() in self._taken:
            number += 1
            suffix = f"{ending} {number}"
        self._taken.add(name.lower())
        return name


def _sizes(rows: int) -> list[int]:
    """How many rows each sheet gets; one sheet, with the header only, where there are none."""
    return [min(SHEET_ROWS, rows - start) for start in range(0, rows, SHEET_ROWS)] or [0]


def _lay_out(book: Workbook, sheet: Worksheet, part: Part, rows: int, locale: Locale | None) -> None:
    columns = part.context.columns
    bold = book.add_format({"bold": True})
    sheet.freeze_panes(1, 0)
    # Printed, a page is as wide as the rows, and each says what its columns are.
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(0)
    sheet.autofilter(0, 0, rows, len(columns) - 1)
    for place, column in enumerate(columns):
        shown = number_format(column, locale)
        style = book.add_format({"num_format": shown}) if shown else None
        sheet.write_string(0, place, column.name, bold)
        sheet.set_column(place, place, _width(column))
        if rows and style is not None:
            sheet.write_blank(1, place, None, style)
    if rows and part.figures is not None and part.rows <= HIGHLIGHTED_ROWS:
        _highlight(book, sheet, columns, part.context.report, rows)


def _highlight(book: Workbook, sheet: Worksheet, columns: Sequence[Column], report: Report, rows: int) -> None:
    places = {column.name: place for place, column in enumerate(columns)}
    for highlight in report.highlights:
        background, text = _TONES[highlight.tone]
        style = book.add_format({"bg_color": background, "font_color": text})
        place = places[highlight.column]
        for value in highlight.values:
            quoted = '"' + value.replace('"', '""') + '"'
            rule = {"type": "cell", "criteria": "==", "value": quoted, "format": style}
            sheet.conditional_format(1, place, rows, place, rule)
    for name in report.bars:
        # Solid bars would be an extension of 2010, of which some readers warn.
        bar = {"type": "data_bar", "bar_color": _BAR_COLOR, "min_type": "num", "min_value": 0}
        sheet.conditional_format(1, places[name], rows, places[name], bar)


def _width(column: Column) -> int:
    """By name, type and example, since rows that stream cannot be measured first. 4 more for the filter's button."""
    return min(max(len(column.name) + 4, len(column.example) + 2, _LEAST_WIDTHS.get(column.type.kind, 10)), _MOST_WIDTH)
