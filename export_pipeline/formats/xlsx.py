"""XLSX: typed cells for Excel and its like. Numbers and dates are real ones, phones and ids are text, and a text is
never a formula or a link; what a cell can hold, and what becomes of the rest, is in `_cells.py`.

The rows are staged in a temporary file first: Excel wants to know how many there are (sheets, filter), and the source
is let go of before the slower part begins. Both temporary files are removed whatever happens.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from pydantic import Field

from export_pipeline.formats._cells import Cells, cells_of, cut, number_format
from export_pipeline.formats._sink import stage
from export_pipeline.formats._zone import Zone
from export_pipeline.model.dataset import Column, Kind
from export_pipeline.model.format import FileContext, Format, Options

if TYPE_CHECKING:
    import polars as pl

#: A sheet has 1,048,576 rows, one of them for the header.
_SHEET_ROWS = 1_048_575
_SHEET_NAME_UNITS = 31
#: Measured: level 6 takes half as long again for a file a tenth smaller.
_COMPRESSION_LEVEL = 3
_COPY_BYTES = 1 << 20

_LEAST_WIDTHS = {Kind.UUID: 38, Kind.TIMESTAMP: 20, Kind.DATE: 12, Kind.TEXT: 14, Kind.JSON: 30}
_MOST_WIDTH = 60


class XlsxOptions(Options):
    """What can be chosen for an Excel file."""

    timezone: Zone = Field(
        "UTC",
        description="The zone that timestamps are shown in, by its IANA name, such as `Europe/Lisbon`.",
    )
    overlong: Literal["error", "truncate"] = Field(
        "error",
        description="What becomes of a text over 32,767 characters (an emoji counts two): `error` refuses the export, "
        "`truncate` cuts the text and ends it with `… [cut]`.",
    )


def write(frame: pl.LazyFrame, target: BinaryIO, context: FileContext, options: XlsxOptions) -> int:
    """Writes the frame as a workbook; see `Write`. Raises Rejected for a text that is longer than a cell, unless it may
    be cut. An empty text and null are both an empty cell."""
    with TemporaryDirectory(prefix="export-") as folder:
        staged, workbook = Path(folder, "rows.arrow"), Path(folder, "workbook.xlsx")
        expected = stage(frame, staged)
        rows = _Rows(staged, context.columns, options, target)
        written = _write_workbook(workbook, rows, expected, context)
        with workbook.open("rb") as file:
            shutil.copyfileobj(file, target, _COPY_BYTES)
    return written


class _Rows:
    """The staged rows as tuples of cells. What goes wrong on the way is kept, since the workbook's writer dresses it up
    as an error of its own."""

    def __init__(self, path: Path, columns: tuple[Column, ...], options: XlsxOptions, target: BinaryIO) -> None:
        self._path = path
        self._cells: list[Cells] = [
            cells_of(column, zone=options.timezone, truncate=options.overlong == "truncate") for column in columns
        ]
        self._target = target
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        import polars as pl
        import pyarrow as pa

        before = 0
        try:
            with pa.OSFile(str(self._path)) as file, pa.ipc.open_file(file) as batches:
                for index in range(batches.num_record_batches):
                    # The file comes at the end; until then this is how the target can say that the export was stopped.
                    self._target.write(b"")
                    batch = pl.DataFrame(pl.from_arrow(batches.get_batch(index)))
                    columns = zip(self._cells, batch.get_columns(), strict=True)
                    yield from zip(*[cells(values, before) for cells, values in columns], strict=True)
                    before += batch.height
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise


def _write_workbook(path: Path, rows: _Rows, expected: int, context: FileContext) -> int:
    """Writes all rows, on as many sheets as they need. Returns how many the workbook has."""
    import xlsxturbo

    cells = iter(rows)
    sheets = [
        (_sheet_frame(context, islice(cells, size), size), name) for name, size in _sheets(context.title, expected)
    ]
    formats = {column.name: {"num_format": shown} for column in context.columns if (shown := number_format(column))}
    try:
        sizes = xlsxturbo.dfs_to_xlsx(
            sheets,
            path,
            constant_memory=True,
            freeze_panes=True,
            autofilter=True,
            header_format={"bold": True},
            column_formats=formats or None,
            column_widths={index: _width(column) for index, column in enumerate(context.columns)},
            compression_level=_COMPRESSION_LEVEL,
        )
    except Exception:
        if rows.error is not None:
            raise rows.error from None
        raise
    return sum(written - 1 for written, _ in sizes)


def _sheet_frame(context: FileContext, cells: Iterator[tuple[Any, ...]], height: int) -> pl.DataFrame:
    """A frame for the workbook's writer, which asks for `columns`, `shape` and `iter_rows` and nothing else: rows
    stream through it and are never in memory together."""
    import polars as pl

    class SheetFrame(pl.DataFrame):
        @property
        def shape(self) -> tuple[int, int]:
            return height, len(context.columns)

        def iter_rows(self, **_: Any) -> Iterator[Any]:
            return cells

    return SheetFrame(schema={column.name: pl.String for column in context.columns})


def _sheets(title: str, rows: int) -> list[tuple[str, int]]:
    """The sheets' names and numbers of rows; one, with the header only, where there are no rows."""
    base = re.sub(r"[\[\]:*?/\\\x00-\x1f]+", " ", title).strip(" '")
    if not base or base.lower() == "history":  # Excel keeps that name for itself
        base = "Sheet"
    sizes = [min(_SHEET_ROWS, rows - start) for start in range(0, rows, _SHEET_ROWS)] or [0]
    suffixes = ["", *(f" {number}" for number in range(2, len(sizes) + 1))]
    return [
        (cut(base, _SHEET_NAME_UNITS - len(suffix)).rstrip(" '") + suffix, size)
        for suffix, size in zip(suffixes, sizes, strict=True)
    ]


def _width(column: Column) -> int:
    """By name, type and example, since rows that stream cannot be measured first. 4 more for the filter's button."""
    return min(max(len(column.name) + 4, len(column.example) + 2, _LEAST_WIDTHS.get(column.type.kind, 10)), _MOST_WIDTH)


FORMAT = Format(
    name="xlsx",
    title="Excel",
    description="A workbook with typed cells, a bold frozen header and filters; further sheets past 1,048,575 rows. A "
    "number or date that Excel cannot hold exactly (over 15 digits, before 1900-03-01) is a text cell.",
    extension="xlsx",
    media_type="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    options=XlsxOptions,
    write=write,
    for_people=lambda options: True,
)
