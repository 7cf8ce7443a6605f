"""Workbooks read again, for the proof that they are complete: cells as they stand in the file, before a program makes
dates of numbers. Row by row, so that memory does not grow with them; some 200,000 cells in a second.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from xml.etree import ElementTree

from export_pipeline.formats._cells import cells_of
from export_pipeline.formats._template import PARTS_PROPERTY
from export_pipeline.model.dataset import Column, Kind
from export_pipeline.model.errors import Broken
from export_pipeline.model.verification import Content, Reader, Verify

if TYPE_CHECKING:
    import polars as pl

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_BATCH_ROWS = 4_096
_COUNT_BYTES = 1 << 20
_ROW = b"<row "
#: What the numbers of dates count days from.
_EPOCH = datetime(1899, 12, 30)
_DAY_MILLISECONDS = 86_400_000
#: How a cell spells a character that XML does not have.
_SPELLED = re.compile(r"_x([0-9A-Fa-f]{4})_")


def held(batch: pl.DataFrame, columns: tuple[Column, ...], options: Any) -> pl.DataFrame:
    """The cells that the batch's values become, as texts that tell a number from a text."""
    import polars as pl

    return pl.DataFrame(
        [
            pl.Series(
                column.name,
                [
                    _told(cell)
                    for cell in cells_of(column, zone=options.timezone, truncate=options.overlong == "truncate")(
                        batch[column.name], 0
                    )
                ],
                dtype=pl.String,
            )
            for column in columns
        ]
    )


def rows(
    content: Content, columns: tuple[Column, ...], options: Any, limit: int | None, *, part: int | None = None
) -> Iterator[pl.DataFrame]:
    """The rows of the workbook's data sheets: those whose first row are the columns' names, and which are of the part.
    Raises Broken."""
    import polars as pl

    names = [column.name for column in columns]
    with content.file() as path:
        found = islice(_rows(path, names, part), limit)
        while batch := list(islice(found, _BATCH_ROWS)):
            yield pl.DataFrame(batch, schema=dict.fromkeys(names, pl.String), orient="row")


def count(content: Content, columns: tuple[Column, ...], options: Any, *, part: int | None = None) -> int:
    """How many rows the workbook's data sheets have, without reading their cells; see `rows`. Raises Broken."""
    names = [column.name for column in columns]
    with content.file() as path, _opened(path) as book:
        return sum(_count(book, sheet) - 1 for sheet in _data_sheets(book, names, part))


def show(column: Column, cell: str | None) -> Any:
    """A cell that was read as a program for workbooks shows it: numbers of dates as dates, those of timestamps as
    times of day in the workbook's zone, to the millisecond."""
    if cell is None or cell[0] == "s":
        return cell and cell[1:]
    if cell[0] == "b":
        return cell == "bTrue"
    number = float(cell[1:])
    match column.type.kind:
        case Kind.DATE:
            return (_EPOCH + timedelta(days=number)).date()
        case Kind.TIMESTAMP:
            return _EPOCH + timedelta(milliseconds=round(number * _DAY_MILLISECONDS))
        case Kind.INTEGER:
            return int(number)
        case _:
            return number


def _rows(path: Path, names: list[str], part: int | None) -> Iterator[list[str | None]]:
    with _opened(path) as book:
        shared = _shared_strings(book)
        for sheet in _data_sheets(book, names, part):
            with book.open(sheet) as file:
                yield from islice(_table(file, len(names), shared), 1, None)


def _data_sheets(book: zipfile.ZipFile, names: list[str], part: int | None) -> Iterator[str]:
    """The names of the archive's files that are data sheets with such columns, of the part, in the workbook's order."""
    header = [_told(name) for name in names]
    with book.open("xl/_rels/workbook.xml.rels") as file:
        targets = {item.get("Id"): item.get("Target", "") for item in ElementTree.parse(file).getroot()}  # noqa: S314
    with book.open("xl/workbook.xml") as file:
        sheets = ElementTree.parse(file).getroot().iter(f"{_MAIN}sheet")  # noqa: S314 — a file of ours
        shared = _shared_strings(book)
    members = [targets[sheet.get(_RELATION)] for sheet in sheets]
    # The data sheets are the first ones; a summary under a title, or a chart's numbers, could look like one.
    members = [member for member, own in zip(members, _parts(book), strict=False) if part in (None, own)]
    for member in members:
        name = member.lstrip("/") if member.startswith("/") else f"xl/{member}"
        if "worksheets/" not in name:
            continue
        with book.open(name) as file:
            # One cell more: another sheet's header may begin alike.
            if next(_table(file, len(names) + 1, shared), None) == [*header, None]:
                yield name


def _parts(book: zipfile.ZipFile) -> list[int]:
    """Which part each data sheet is of, as the workbook tells."""
    with book.open("docProps/custom.xml") as file:
        for item in ElementTree.parse(file).getroot():  # noqa: S314 — a file of ours
            if item.get("name") == PARTS_PROPERTY:
                return [int(place) for place in "".join(item.itertext()).split(",")]
    raise Broken("the workbook does not tell which dataset each of its sheets is of")


def _table(sheet: IO[bytes], width: int, shared: list[str]) -> Iterator[list[str | None]]:
    """The sheet's rows, as `held` tells cells."""
    root = None
    for event, element in ElementTree.iterparse(sheet, ("start", "end")):  # noqa: S314 — a file of ours
        if root is None:
            root = element
        if event == "end" and element.tag == f"{_MAIN}row":
            row: list[str | None] = [None] * width
            for cell in element:
                place = _place(cell.get("r", ""))
                if place < width:
                    row[place] = _cell(cell, shared)
            yield row
            element.clear()
            for part in root:
                # The rows that have been read hang there, empty, and would grow to as many as there are.
                if part.tag == f"{_MAIN}sheetData":
                    part.clear()


def _cell(cell: ElementTree.Element, shared: list[str]) -> str | None:
    kind = cell.get("t", "n")
    if kind == "inlineStr":
        return _told(_text(cell))
    value = cell.findtext(f"{_MAIN}v")
    if value is None:
        return None
    if kind == "s":
        return _told(shared[int(value)])
    return _told(value == "1") if kind == "b" else _told(float(value)) if kind == "n" else _told(value)


def _text(element: ElementTree.Element) -> str:
    return _SPELLED.sub(lambda found: chr(int(found[1], 16)), "".join(element.itertext()))


def _shared_strings(book: zipfile.ZipFile) -> list[str]:
    """The texts that cells only refer to: headers and what stands on the other sheets, so few."""
    if "xl/sharedStrings.xml" not in book.namelist():
        return []
    with book.open("xl/sharedStrings.xml") as file:
        return [_text(item) for item in ElementTree.parse(file).getroot()]  # noqa: S314 — a file of ours


def _told(cell: Any) -> str | None:
    if cell is None or cell == "":
        return None
    if isinstance(cell, bool):
        return f"b{cell}"
    return f"s{cell}" if isinstance(cell, str) else f"n{float(cell)!r}"


def _place(reference: str) -> int:
    """The column's number, from 0, of a cell such as AB12."""
    place = 0
    for letter in reference:
        if not letter.isalpha():
            break
        place = 26 * place + ord(letter) - 64
    return place - 1


def _count(book: zipfile.ZipFile, sheet: str) -> int:
    """How many rows the sheet has, by their beginnings: no text holds a bare angle bracket."""
    found, end = 0, b""
    with book.open(sheet) as file:
        while chunk := file.read(_COUNT_BYTES):
            found += (end + chunk).count(_ROW)
            end = chunk[-len(_ROW) + 1 :]
    return found


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as book:
            yield book
    except (GeneratorExit, Broken):
        raise
    except Exception as error:  # zipfile, zlib and the parser have errors of their own
        raise Broken(f"the file cannot be read back ({type(error).__name__})") from error


def part(place: int) -> Reader:
    """What reads the dataset at the place, from 0, of a workbook of several."""
    return replace(READER, rows=partial(rows, part=place), count=partial(count, part=place))


#: Reading a million rows takes a minute: a sample, with all rows counted, is what is usual.
READER = Reader(rows=rows, count=count, held=held, usual=Verify.SAMPLE, show=show, part=part)
