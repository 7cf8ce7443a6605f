"""Delimited text read again, for the proof that it is complete."""

from __future__ import annotations

import io
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg import sql

from export_pipeline.formats import _duckdb
from export_pipeline.formats._delimited import TEXTS, DelimitedOptions, null_field
from export_pipeline.formats._formulas import restored
from export_pipeline.formats._locale import date_format, moment_format
from export_pipeline.formats._pipe import piped
from export_pipeline.model.dataset import Column
from export_pipeline.model.errors import Broken
from export_pipeline.model.verification import Content, Reader
from export_pipeline.staging import staging_folder

if TYPE_CHECKING:
    import polars as pl

#: The header is in the file's first bytes: a thousand columns with long names fit.
_HEAD_BYTES = 4 << 20
_STEP_BYTES = 1 << 20
#: Rows in a batch of a file that is read in one piece: however wide they are, they are not cut by bytes.
_PIECE_ROWS = 1_024


def rows(
    content: Content, columns: tuple[Column, ...], options: DelimitedOptions, limit: int | None
) -> Iterator[pl.DataFrame]:
    """The file's rows. Raises Broken where the header or a value is not what it should be, and where DuckDB guesses
    wrong: it begins to read at several places at once, and a text of several lines may have some that look like rows.
    """
    yield from _restored(_duckdb.read(partial(_source, content, columns, options), columns, limit), columns, options)


def rows_in_one_piece(
    content: Content, columns: tuple[Column, ...], options: DelimitedOptions, limit: int | None
) -> Iterator[pl.DataFrame]:
    """The same from the first byte to the last, which takes longer, and a copy of the file on this machine, but no
    guess: of a pipe, DuckDB would keep all that it has read."""
    source = partial(_one_piece, content, columns, options)
    found = _duckdb.read(source, columns, limit, at_once=_PIECE_ROWS, tries=_duckdb.LIMITS_OF_ONE_PIECE)
    yield from _restored(found, columns, options)


def count(content: Content, columns: tuple[Column, ...], options: DelimitedOptions) -> int:
    """How many rows the file has; see `rows`."""
    return _duckdb.count(partial(_source, content, columns, options))


def count_in_one_piece(content: Content, columns: tuple[Column, ...], options: DelimitedOptions) -> int:
    """How many rows the file has; see `rows_in_one_piece`."""
    return _duckdb.count(partial(_one_piece, content, columns, options), tries=_duckdb.LIMITS_OF_ONE_PIECE)


def _restored(
    batches: Iterator[pl.DataFrame], columns: tuple[Column, ...], options: DelimitedOptions
) -> Iterator[pl.DataFrame]:
    """The batches with their texts as they were before formulas were made harmless."""
    texts = [column.name for column in columns if column.type.kind in TEXTS]
    for batch in batches:
        bare = [restored(batch[name], options.separator) for name in texts] if options.for_spreadsheets else []
        yield batch.with_columns(bare)


def held(batch: pl.DataFrame, columns: tuple[Column, ...], options: DelimitedOptions) -> pl.DataFrame:
    """A null among texts that is written as `""` is an empty text."""
    import polars as pl

    if null_field(columns, options) != '""' or columns[0].type.kind not in TEXTS:
        return batch
    return batch.with_columns(pl.all().fill_null(""))


def _body(
    chunks: Iterator[bytes | memoryview], columns: tuple[Column, ...], options: DelimitedOptions
) -> Iterator[bytes | memoryview]:
    """The rows below a header of one line, which tells DuckDB how lines end: it takes a header for one line, and the
    first line break, also one within quotes, for what ends them all. Raises Broken where the header is another."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= _HEAD_BYTES:
            break
    size = _check_header(head, columns, options)
    yield options.separator.join(_duckdb.place(index) for index in range(len(columns))).encode()
    yield options.line_end.encode()
    yield head[size:]
    yield from chunks


def _fitting(chunks: Iterator[bytes | memoryview], row_bytes: int) -> Iterator[bytes | memoryview]:
    """The chunks. Raises LongRow, after the last, where there were more bytes without a line feed than a row may have:
    where the file's last row is longer than DuckDB's buffer, and not in quotes, DuckDB leaves it out."""
    longest = stretch = 0
    for chunk in chunks:
        for start in range(0, len(chunk), _STEP_BYTES):
            part = bytes(chunk[start : start + _STEP_BYTES])
            first = part.find(b"\n")
            longest = max(longest, stretch + (len(part) if first < 0 else first))
            stretch = stretch + len(part) if first < 0 else len(part) - part.rfind(b"\n") - 1
        yield chunk
    if longest > row_bytes:
        raise _duckdb.LongRow


def _check_header(head: bytes, columns: tuple[Column, ...], options: DelimitedOptions) -> int:
    """How many bytes the header takes, which may have several lines. Raises Broken where it is not the columns'
    names."""
    import csv

    lines: list[str] = []
    text = io.TextIOWrapper(io.BytesIO(head), encoding="utf-8-sig", newline="")
    try:
        found = next(csv.reader(_kept(text, lines), delimiter=options.separator, strict=True), [])
    except (csv.Error, UnicodeDecodeError) as error:
        raise Broken("the file's header cannot be read") from error
    expected = [column.name for column in columns]
    if options.for_spreadsheets:
        import polars as pl

        found = restored(pl.Series(found, dtype=pl.String), options.separator).to_list()
    if found != expected:
        # It may be a row, whose values are nobody's business here.
        raise Broken(f"the file's header should be {', '.join(expected)}, and is not")
    ended = lines[-1].rstrip("\r\n") if lines else ""
    if lines and lines[-1][len(ended) :] not in ("", options.line_end):
        raise Broken("the file's header does not end as its rows should")
    mark = len(BOM_UTF8) if head.startswith(BOM_UTF8) else 0
    return mark + len("".join(lines).encode())


def _kept(lines: Iterable[str], kept: list[str]) -> Iterator[str]:
    """The lines, and what has been asked for of them."""
    for line in lines:
        kept.append(line)
        yield line


@contextmanager
def _source(
    content: Content, columns: tuple[Column, ...], options: DelimitedOptions, limits: _duckdb.Limits
) -> Iterator[sql.Composed]:
    with piped(_fitting(_body(content.chunks(), columns, options), limits.row_bytes)) as path:
        yield _call(path, columns, options, limits, parallel=True)


@contextmanager
def _one_piece(
    content: Content, columns: tuple[Column, ...], options: DelimitedOptions, limits: _duckdb.Limits
) -> Iterator[sql.Composed]:
    with staging_folder() as folder:
        path = folder / "file"
        with path.open("wb") as target:
            target.writelines(_fitting(_body(content.chunks(), columns, options), limits.row_bytes))
        yield _call(path, columns, options, limits, parallel=False)


def _call(
    path: Path, columns: tuple[Column, ...], options: DelimitedOptions, limits: _duckdb.Limits, *, parallel: bool
) -> sql.Composed:
    null = null_field(columns, options)
    alone = null == '""' or (len(columns) == 1 and columns[0].type.kind not in TEXTS)
    return sql.SQL(
        "read_csv({path}, columns = {columns}, auto_detect = false, header = true, delim = {delimiter}, "
        "quote = '\"', escape = '\"', nullstr = {null}, allow_quoted_nulls = {quoted_nulls}, "
        "max_line_size = {row_bytes}, buffer_size = {buffer_bytes}, decimal_separator = {point}{shown}, "
        "parallel = {parallel}, strict_mode = true)"
    ).format(
        path=_duckdb.file(path),
        columns=_duckdb.struct(
            {_duckdb.place(index): _duckdb.duckdb_type(column) for index, column in enumerate(columns)}
        ),
        delimiter=_duckdb.literal(options.separator),
        null=_duckdb.literal("" if null == '""' else null),
        quoted_nulls=sql.SQL(
            "true" if options.quoting == "always" or (alone and columns[0].type.kind not in TEXTS) else "false"
        ),
        row_bytes=sql.Literal(limits.row_bytes),
        buffer_bytes=sql.Literal(limits.buffer_bytes),
        point=_duckdb.literal("," if options.has_decimal_comma else "."),
        shown=_shown(options),
        parallel=sql.Literal(parallel),
    )


def _shown(options: DelimitedOptions) -> sql.Composable:
    """How dates and timestamps are written, where that is not ISO 8601 in UTC."""
    if not options.shown:
        return sql.SQL("")
    return sql.SQL(", dateformat = {}, timestampformat = {}").format(
        _duckdb.literal(date_format(options.locale)), _duckdb.literal(moment_format(options.locale))
    )


READER = Reader(rows=rows, count=count, held=held, exact=(rows_in_one_piece, count_in_one_piece))
