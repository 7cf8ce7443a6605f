"""The sheet that says what a workbook holds: which data, as of when, chosen by what, and what the rows say together."""

from __future__ import annotations

import zoneinfo
from collections.abc import Sequence
from typing import TYPE_CHECKING

from export_pipeline.formats._cells import CUT_MARK, MAX_TEXT_UNITS, cut
from export_pipeline.formats._figures import Figures
from export_pipeline.formats._locale import LOCALES, Locale
from export_pipeline.model.dataset import Kind
from export_pipeline.model.format import FileContext
from export_pipeline.model.report import Aggregate, Measure

if TYPE_CHECKING:
    from xlsxwriter.workbook import Workbook

_WIDTHS = (34, 44)


def add_summary(
    book: Workbook,
    name: str,
    reported: Sequence[tuple[FileContext, Figures]],
    timezone: str,
    locale: Locale | None = None,
) -> None:
    """Adds the sheet, with one section for each dataset; `timezone` (IANA) is what moments are shown in, `locale` how
    dates are written."""
    sheet = book.add_worksheet(name)
    sheet.hide_gridlines(2)
    sheet.set_portrait()
    sheet.fit_to_pages(1, 0)
    for place, width in enumerate(_WIDTHS):
        sheet.set_column(place, place, width)
    title = book.add_format({"bold": True, "font_size": 16})
    heading = book.add_format({"bold": True, "bottom": 1, "bottom_color": "#808080"})
    label = book.add_format({"valign": "top"})
    text = book.add_format({"align": "left", "valign": "top", "text_wrap": True})
    moment = book.add_format({"align": "left", "num_format": f"{LOCALES[locale or 'en'].excel_date} hh:mm:ss"})
    line = 0
    for context, figures in reported:
        sheet.set_row(line, 24)
        sheet.write_string(line, 0, context.title, title)
        line += 1
        snapshot_at = context.snapshot_at.astimezone(zoneinfo.ZoneInfo(timezone)).replace(tzinfo=None)
        for heading_text, texts in (
            ("What", {"Dataset": context.dataset, "Export": context.export_id, **_part(context)}),
            ("Filters", context.filters or {"None": "all rows that the person may see"}),
        ):
            line += 1
            sheet.write_string(line, 0, heading_text, heading)
            sheet.write_blank(line, 1, None, heading)
            for key, said in texts.items():
                line += 1
                sheet.write_string(line, 0, key, label)
                sheet.write_string(line, 1, cut(said, MAX_TEXT_UNITS, CUT_MARK), text)
            if heading_text == "What":
                line += 1
                sheet.write_string(line, 0, f"As of ({timezone})", label)
                # Whole seconds: Excel would round what it does not show.
                sheet.write_datetime(line, 1, snapshot_at.replace(microsecond=0), moment)
                if any(column.type.kind is Kind.TIMESTAMP for column in context.columns):
                    line += 1
                    sheet.write_string(line, 0, "Times are those of", label)
                    sheet.write_string(line, 1, timezone, text)
            line += 1
        line += 1
        sheet.write_string(line, 0, "Totals", heading)
        sheet.write_blank(line, 1, None, heading)
        line += 1
        sheet.write_string(line, 0, "Rows", label)
        sheet.write_number(line, 1, figures.rows, book.add_format({"num_format": "#,##0", "align": "left"}))
        for measure, value in figures.figures:
            line += 1
            sheet.write_string(line, 0, measure.title, label)
            if value is None:
                sheet.write_string(line, 1, "–", text)
            else:
                style = book.add_format({"num_format": measure_format(measure), "align": "left"})
                sheet.write_number(line, 1, value, style)
        line += 3


def _part(context: FileContext) -> dict[str, str]:
    return {"Part": f"{context.part:,}; the totals below are of its rows alone"} if context.part else {}


def measure_format(measure: Measure) -> str:
    """How Excel shows the measure's number, with its unit."""
    decimals = f".{'0' * measure.decimals}" if measure.decimals else ""
    if measure.aggregate is Aggregate.SHARE:
        return f"0{decimals}%"
    unit = measure.unit.replace('"', "")
    return f'#,##0{decimals}" {unit}"' if unit else f"#,##0{decimals}"
