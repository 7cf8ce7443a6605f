"""Delimited text read again, for the proof that it is complete."""

from __future__ import annotations

import shutil
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from psycopg import sql

from export_pipeline.formats import _duckdb
from export_pipeline.formats._delimited import TEXTS, DelimitedOptions, null_field
from export_pipeline.formats._formulas import restored
from export_pipeline.formats._locale import date_format, moment_format
from export_pipeline.model.dataset import Column
from export_pipeline.model.errors import Broken
from export_pipeline.model.verification import Reader

if TYPE_CHECKING:
    import polars as pl


def rows(
    path: Path, columns: tuple[Column, ...], options: DelimitedOptions, limit: int | None
) -> Iterator[pl.DataFrame]:
    """The file's rows. Raises Broken where the header or a value is not what it should be."""
    texts = [column.name for column in columns if column.type.kind in TEXTS]
    with _readable(path, columns, options) as source:
        for batch in _duckdb.read(source, columns, limit):
            yield batch.with_columns(restored(batch[name]) for name in texts) if options.for_spreadsheets else batch


def count(path: Path, columns: tuple[Column, ...], options: DelimitedOptions) -> int:
    """How many rows the file has."""
    with _readable(path, columns, options) as source:
        return _duckdb.count(source)


def held(batch: pl.DataFrame, columns: tuple[Column, ...], options: DelimitedOptions) -> pl.DataFrame:
    """A null among texts that is written as `""` is an empty text."""
    import polars as pl

    if null_field(columns, options) != '""' or columns[0].type.kind not in TEXTS:
        return batch
    return batch.with_columns(pl.all().fill_null(""))


@contextmanager
def _readable(path: Path, columns: tuple[Column, ...], options: DelimitedOptions) -> Iterator[_duckdb.Source]:
    """What reads the file, whose header has been checked. Raises Broken where that is another."""
    size = _check_header(path, columns, options)
    if not any(character in column.name for column in columns for character in "\r\n"):
        yield partial(_source, path, columns, options)
        return
    # DuckDB takes a header for one line.
    with TemporaryDirectory(prefix="export-") as folder:
        body = Path(folder, "body")
        with path.open("rb") as whole, body.open("wb") as target:
            whole.seek(size)
            shutil.copyfileobj(whole, target, 1 << 20)
        yield partial(_source, body, columns, options, header=False)


def _check_header(path: Path, columns: tuple[Column, ...], options: DelimitedOptions) -> int:
    """How many bytes the header takes. Raises Broken where it is not the columns' names."""
    import csv

    with path.open("rb") as file:
        mark = len(BOM_UTF8) if file.read(len(BOM_UTF8)) == BOM_UTF8 else 0
    lines: list[str] = []
    with path.open(encoding="utf-8-sig", newline="") as text:
        found = next(csv.reader(_kept(text, lines), delimiter=options.separator, strict=True), [])
    expected = [column.name for column in columns]
    if options.for_spreadsheets:
        import polars as pl

        found = restored(pl.Series(found, dtype=pl.String)).to_list()
    if found != expected:
        raise Broken(f"the file's header is {', '.join(found)} and should be {', '.join(expected)}")
    return mark + len("".join(lines).encode())


def _kept(lines: Iterable[str], kept: list[str]) -> Iterator[str]:
    """The lines, and what has been asked for of them."""
    for line in lines:
        kept.append(line)
        yield line


def _source(
    path: Path,
    columns: tuple[Column, ...],
    options: DelimitedOptions,
    limits: _duckdb.Limits,
    *,
    header: bool = True,
) -> sql.Composed:
    null = null_field(columns, options)
    alone = null == '""' or (len(columns) == 1 and columns[0].type.kind not in TEXTS)
    return sql.SQL(
        "read_csv({path}, columns = {columns}, auto_detect = false, header = {header}, delim = {delimiter}, "
        "quote = '\"', escape = '\"', nullstr = {null}, allow_quoted_nulls = {quoted_nulls}, "
        "max_line_size = {row_bytes}, buffer_size = {buffer_bytes}, decimal_separator = {point}{shown}, "
        "strict_mode = true)"
    ).format(
        path=sql.Literal(str(path)),
        header=sql.Literal(header),
        columns=_duckdb.struct(
            {_duckdb.place(index): _duckdb.duckdb_type(column) for index, column in enumerate(columns)}
        ),
        delimiter=sql.Literal(options.separator),
        null=sql.Literal("" if null == '""' else null),
        quoted_nulls=sql.SQL(
            "true" if options.quoting == "always" or (alone and columns[0].type.kind not in TEXTS) else "false"
        ),
        row_bytes=sql.Literal(limits.row_bytes),
        buffer_bytes=sql.Literal(limits.buffer_bytes),
        point=sql.Literal("," if options.has_decimal_comma else "."),
        shown=_shown(options),
    )


def _shown(options: DelimitedOptions) -> sql.Composable:
    """How dates and timestamps are written, where that is not ISO 8601 in UTC."""
    if not options.shown:
        return sql.SQL("")
    return sql.SQL(", dateformat = {}, timestampformat = {}").format(
        sql.Literal(date_format(options.locale)), sql.Literal(moment_format(options.locale))
    )


READER = Reader(rows=rows, count=count, held=held)
