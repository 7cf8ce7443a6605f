"""From batches of rows to the XML of a sheet's rows (ECMA-376, part 1, 18.3), by column instead of by cell: Polars
joins the pieces of all cells of a batch at once.

What a cell holds is in `_cells.py`. A null and an empty text are no cell at all, except in the first column, since
readers overlook a row without cells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from export_pipeline.formats._cells import Cells

if TYPE_CHECKING:
    import polars as pl

#: So many rows are turned at once, of about 4 MB of XML: staged batches of wide rows have fewer. Still fewer are no
#: better for memory.
BATCH_ROWS = 5_000

#: What needs another spelling, or a mark that it is meant: XML's own characters, spaces at the ends, and what XML
#: cannot hold, which Excel writes as _xHHHH_ (so that a text which looks like that needs one, too).
_SPECIAL = r"[&<>\x00-\x08\x0B-\x1F\x{FFFE}\x{FFFF}]|_x[0-9A-Fa-f]{4}_|^\s|\s$"
_UNWRITABLE = r"[\x00-\x08\x0B-\x1F\x{FFFE}\x{FFFF}]|_x[0-9A-Fa-f]{4}_"
#: Each of them; what looks like an escape may also be ended by the beginning of a real one.
_UNWRITABLE_ONE = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}[_\x00-\x08\x0b-\x1f\ufffe\uffff])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}

_TEXT, _TEXT_END = '" t="inlineStr"><is><t{space}>', "</t></is></c>"


class RowXml:
    """Turns batches into the XML of rows. `styles` are the columns' cell styles: their numbers in the workbook."""

    def __init__(self, cells: Sequence[Cells], letters: Sequence[str], styles: Sequence[str | None]) -> None:
        self._cells = cells
        self._letters = letters
        self._styles = [f'" s="{style}' if style else "" for style in styles]

    def rows(self, batch: pl.DataFrame, before: int, first_line: int) -> Iterator[bytes]:
        """The batch's rows; `before` is how many rows of the export come before it, `first_line` the sheet's line
        (counted from 1) of the first. Raises Rejected for a text that no cell holds."""
        for start in range(0, batch.height, BATCH_ROWS):
            part = batch[start : start + BATCH_ROWS]
            yield self._xml(part, before + start, first_line + start)

    def _xml(self, batch: pl.DataFrame, before: int, first_line: int) -> bytes:
        import polars as pl

        lines = pl.int_range(first_line, first_line + batch.height, eager=True).cast(pl.String).alias("line")
        row = _Pieces(lines)
        row.text('<row r="')
        row.line()
        row.text('">')
        columns = zip(self._letters, self._styles, self._cells, batch.get_columns(), strict=True)
        for letter, style, cells, values in columns:
            found = cells(values, before)
            if isinstance(found, list):
                row.optional(_mixed(found, lines, letter, style), letter)
            else:
                _cell(row, found, letter, style)
        row.text("</row>")
        return row.joined().encode()


class _Pieces:
    """The pieces that a batch's rows are joined of: fixed texts, and series with one text for each row."""

    def __init__(self, lines: pl.Series) -> None:
        self.lines = lines
        self._columns: dict[str, pl.Series] = {"line": lines}
        self._pieces: list[pl.Expr] = []
        self._text = ""

    def text(self, text: str) -> None:
        self._text += text

    def line(self) -> None:
        self._add(self.lines)

    def optional(self, cells: pl.Series, letter: str) -> None:
        """A column's whole cells, null where there is none."""
        import polars as pl

        if letter != "A":
            self._add(cells.fill_null(""))
            return
        empty = pl.concat_str(pl.lit('<c r="A'), "line", pl.lit('"/>'))
        self._add(pl.DataFrame({"line": self.lines, "cell": cells}).select(pl.col("cell").fill_null(empty)).to_series())

    def column(self, values: pl.Series) -> None:
        """What stands inside a cell; no null."""
        self._add(values)

    def _add(self, values: pl.Series) -> None:
        import polars as pl

        self._flush()
        name = "line" if values is self.lines else str(len(self._columns))
        self._columns[name] = values.alias(name)
        self._pieces.append(pl.col(name))

    def _flush(self) -> None:
        import polars as pl

        if self._text:
            self._pieces.append(pl.lit(self._text))
            self._text = ""

    def joined(self) -> str:
        import polars as pl

        self._flush()
        return str(pl.DataFrame(self._columns).select(pl.concat_str(self._pieces).str.join("")).item())


def _cell(row: _Pieces, values: pl.Series, letter: str, style: str) -> None:
    """One column's cells. Where all have a value, their pieces are joined with the row's; else cell by cell first."""
    import polars as pl

    if values.dtype == pl.String:
        texts, space = _escaped(values)
        before, after = style + _TEXT.format(space=space), _TEXT_END
        missing = texts.null_count() or (texts == "").any()
        texts = texts.replace("", None) if missing else texts
    elif values.dtype == pl.Boolean:
        texts, before, after = values.cast(pl.Int8).cast(pl.String), f'{style}" t="b"><v>', "</v></c>"
    else:
        texts, before, after = values.cast(pl.String), f'{style}"><v>', "</v></c>"
    if texts.null_count():
        cells = pl.concat_str(pl.lit(f'<c r="{letter}'), "line", pl.lit(before), "value", pl.lit(after))
        frame = pl.DataFrame({"line": row.lines, "value": texts})
        row.optional(frame.select(cells).to_series(), letter)
        return
    row.text(f'<c r="{letter}')
    row.line()
    row.text(before)
    row.column(texts)
    row.text(after)


def _mixed(values: list[Any], lines: pl.Series, letter: str, style: str) -> pl.Series:
    import polars as pl

    cells = [
        None if value in (None, "") else f'<c r="{letter}{line}{style}{_one(value)}</c>'
        for value, line in zip(values, lines.to_list(), strict=True)
    ]
    return pl.Series(cells, dtype=pl.String)


def _one(value: object) -> str:
    if not isinstance(value, str):
        return f'"><v>{value}</v>'
    text = _UNWRITABLE_ONE.sub(_hexadecimal, value)
    for character, entity in _ENTITIES.items():
        text = text.replace(character, entity)
    return _TEXT.format(space=' xml:space="preserve"') + text + "</t></is>"


def _escaped(texts: pl.Series) -> tuple[pl.Series, str]:
    """The texts as XML holds them, and the attribute that keeps their spaces."""
    import polars as pl

    if not texts.str.contains(_SPECIAL).any():
        return texts, ""
    if texts.str.contains(_UNWRITABLE).any():
        spelled = [text if text is None else _UNWRITABLE_ONE.sub(_hexadecimal, text) for text in texts.to_list()]
        texts = pl.Series(spelled, dtype=pl.String)
    return texts.str.replace_many(list(_ENTITIES), list(_ENTITIES.values())), ' xml:space="preserve"'


def _hexadecimal(found: re.Match[str]) -> str:
    return f"_x{ord(found[0]):04X}_"
