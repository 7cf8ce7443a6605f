"""XLSX: typed cells for Excel and its like. Numbers and dates are real ones, phones and ids are text, and a text is
never a formula or a link; what a cell can hold, and what becomes of the rest, is in `_cells.py`.

The rows are staged in a temporary file first: Excel wants to know how many there are (sheets, filter), the report is
computed from them, and the source is let go of before the slower part begins. Then they stream into a workbook that
`_template.py` made without them. All temporary files are removed whatever happens.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from pydantic import Field

from export_pipeline.ahead import ahead
from export_pipeline.deflate import deflate_entry
from export_pipeline.formats._cells import cells_of
from export_pipeline.formats._figures import compute
from export_pipeline.formats._locale import Locale
from export_pipeline.formats._sheet_xml import RowXml
from export_pipeline.formats._sink import stage
from export_pipeline.formats._template import DataSheet, Part, make_template
from export_pipeline.formats._xlsx_reader import READER
from export_pipeline.formats._zone import Zone
from export_pipeline.model.format import FileContext, Format, Options
from export_pipeline.staging import staging_folder

if TYPE_CHECKING:
    import polars as pl

#: Measured with 200,000 rows: 0.15 s and 23.8 MB, where level 4 takes 0.7 s for 21.1 MB, and zlib at level 3 0.8 s for
#: 23.5 MB.
_COMPRESSION_LEVEL = 2
_COPY_BYTES = 1 << 20
#: The most bytes of XML for a cell, without its text, and for each byte of that: a control character is `_x0001_`.
_CELL_BYTES, _TEXT_BYTES = 160, 7


class XlsxOptions(Options):
    """What can be chosen for an Excel file."""

    timezone: Zone = Field(
        "UTC",
        description="The zone that timestamps are shown in, by its IANA name, such as `Europe/Lisbon`.",
    )
    locale: Locale | None = Field(
        None,
        description="How dates are shown, such as 21.11.2026 for `de`; numbers are shown as Excel itself is set up. "
        "Default: 2026-11-21.",
    )
    workbook: Literal["report", "rows"] = Field(
        "report",
        description="What is in it: `report` adds a summary sheet, the dataset's charts and, up to 200,000 rows, its "
        "highlights; `rows` holds the rows alone.",
    )
    overlong: Literal["error", "truncate"] = Field(
        "error",
        description="What becomes of a text over 32,767 characters (an emoji counts two): `error` refuses the export, "
        "`truncate` cuts the text and ends it with `… [cut]`.",
    )


def write(frame: pl.LazyFrame, target: BinaryIO, context: FileContext, options: XlsxOptions) -> int:
    """Writes the frame as a workbook; see `Write`. Raises Rejected for a text that is longer than a cell, unless it may
    be cut. An empty text and null are both an empty cell."""
    return write_workbook([(frame, context)], target, options)[0]


def write_workbook(
    parts: Sequence[tuple[pl.LazyFrame, FileContext]], target: BinaryIO, options: XlsxOptions
) -> list[int]:
    """Writes one workbook of several datasets, one after the other, each on sheets of its own. Returns how many rows of
    each it holds; raises like `write`."""
    with staging_folder() as folder:
        staged = [
            _stage(frame, context, folder / f"{number}.arrow", options) for number, (frame, context) in enumerate(parts)
        ]
        template, workbook = folder / "template.xlsx", folder / "workbook.xlsx"
        data, sheets = make_template(staged, options.timezone, options.locale)
        template.write_bytes(data)
        written = _fill(template, workbook, sheets, [_Rows(part, options, target) for part in staged])
        with workbook.open("rb") as file:
            shutil.copyfileobj(file, target, _COPY_BYTES)
    return written


def _stage(frame: pl.LazyFrame, context: FileContext, path: Path, options: XlsxOptions) -> Part:
    import polars as pl

    staged = stage(frame, path)
    if options.workbook == "rows":
        return Part(context, path, *staged, None)
    figures = compute(pl.scan_ipc(path), context.report, zone=options.timezone)
    return Part(context, path, *staged, figures)


class _Rows:
    """A part's staged rows, as XML, sheet by sheet."""

    def __init__(self, part: Part, options: XlsxOptions, target: BinaryIO) -> None:
        from xlsxwriter.utility import xl_col_to_name

        self._part = part
        self.letters = [xl_col_to_name(place) for place in range(len(part.context.columns))]
        self._cells = [
            cells_of(column, zone=options.timezone, truncate=options.overlong == "truncate")
            for column in part.context.columns
        ]
        self._target = target
        self._batches = self._read()
        self._left: pl.DataFrame | None = None
        self.written = 0
        #: What the XML of all rows has at most.
        self.most_bytes = _CELL_BYTES * part.rows * len(self.letters) + _TEXT_BYTES * part.bytes

    def xml(self, rows: int, styles: dict[str, str]) -> Iterator[bytes]:
        """The next `rows` rows, as lines of a sheet below its header; `styles` by the columns' letters."""
        row_xml = RowXml(self._cells, self.letters, [styles.get(letter) for letter in self.letters])
        line, last = 2, rows + 1
        while line <= last:
            batch = self._left if self._left is not None else next(self._batches)
            batch, rest = batch[: last - line + 1], batch[last - line + 1 :]
            self._left = rest if rest.height else None
            yield from row_xml.rows(batch, self.written, line)
            self.written += batch.height
            line += batch.height

    def _read(self) -> Iterator[pl.DataFrame]:
        import polars as pl
        import pyarrow as pa

        with pa.OSFile(str(self._part.staged)) as file, pa.ipc.open_file(file) as batches:
            for index in range(batches.num_record_batches):
                # The file comes at the end; until then this is how the target can say that the export was stopped.
                self._target.write(b"")
                batch = pl.DataFrame(pl.from_arrow(batches.get_batch(index)))
                if batch.height:
                    yield batch


def _fill(template: Path, workbook: Path, sheets: Sequence[DataSheet], parts: Sequence[_Rows]) -> list[int]:
    """Copies the template, with the rows in their sheets. Returns how many rows each part has."""
    with (
        zipfile.ZipFile(template) as source,
        zipfile.ZipFile(workbook, "w", zipfile.ZIP_DEFLATED) as filled,
    ):
        data_sheets = {sheet.file for sheet in sheets}
        for entry in source.infolist():
            if entry.filename not in data_sheets:
                filled.writestr(entry, source.read(entry))
        for sheet in sheets:
            entry, rows = source.getinfo(sheet.file), parts[sheet.part]
            head, styles, tail = _opened(source.read(entry).decode(), rows.letters[-1], sheet.rows)
            # Only a sheet of a million rows may be longer than a usual entry, which some readers like better.
            most = len(head) + rows.most_bytes + len(tail)
            with filled.open(entry.filename, "w", force_zip64=most > zipfile.ZIP64_LIMIT) as file:
                deflate_entry(file, _COMPRESSION_LEVEL)
                file.write(head)
                for xml in ahead(rows.xml(sheet.rows, styles)):
                    file.write(xml)
                file.write(tail)
    return [part.written for part in parts]


def _opened(xml: str, last_column: str, rows: int) -> tuple[bytes, dict[str, str], bytes]:
    """An empty data sheet's XML up to its first row and from its last one, and the styles of its columns' cells, which
    its second line holds."""
    head, end, tail = xml.partition("</sheetData>")
    head, _, second = head.partition('<row r="2"')
    styles = dict(re.findall(r'<c r="([A-Z]+)2" s="(\d+)"', second))
    # Which cells there are, for readers that reserve room for them.
    head = re.sub(r'<dimension ref="[^"]*"/>', f'<dimension ref="A1:{last_column}{rows + 1}"/>', head, count=1)
    return head.encode(), styles, (end + tail).encode()


FORMAT = Format(
    name="xlsx",
    title="Excel",
    description="A workbook with typed cells, a bold frozen header and filters, a summary and charts (see "
    "[Excel](excel.md)); further sheets past 1,048,575 rows. A number or date that Excel cannot hold exactly (over 15 "
    "digits, before 1900-03-01) is a text cell.",
    extension="xlsx",
    media_type="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    options=XlsxOptions,
    write=write,
    for_people=lambda options: True,
    write_many=write_workbook,
    reader=READER,
)
