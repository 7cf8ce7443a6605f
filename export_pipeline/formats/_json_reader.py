"""JSON documents and lines read again, for the proof that they are complete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg import sql

from export_pipeline.formats import _duckdb
from export_pipeline.formats._json import JsonValueOptions
from export_pipeline.formats._surrogates import halves
from export_pipeline.model.dataset import Column, Kind
from export_pipeline.model.errors import Broken
from export_pipeline.model.verification import Content, Reader
from export_pipeline.staging import staging_folder

if TYPE_CHECKING:
    import polars as pl

#: The envelope's metadata are in the file's first bytes: a thousand columns with long descriptions fit.
_HEAD_BYTES = 4 << 20
_COPY_BYTES = 1 << 20
#: DuckDB reads an array by one thread, and fills each batch, however wide its rows are. Measured: as quick as 8,192.
_ARRAY_ROWS = 256


def held(batch: pl.DataFrame, columns: tuple[Column, ...], options: JsonValueOptions) -> pl.DataFrame:
    """A decimal that is a number is read as binary floating point, as most programs do; JSON values are compared
    without the white space between their parts, and `null` among them is null. Those that the writer refuses stay as
    they are: it can name the row."""
    import polars as pl

    numbers = [
        pl.col(column.name).cast(pl.String).cast(pl.Float64)
        for column in columns
        if column.type.kind is Kind.DECIMAL and options.decimals == "number"
    ]
    values = [
        column.name for column in columns if column.type.kind is Kind.JSON and not halves(batch[column.name]).any()
    ]
    return _duckdb.minified(batch, values).with_columns(numbers)


def line_rows(content: Content, columns: tuple[Column, ...], options: Any, limit: int | None) -> Iterator[pl.DataFrame]:
    """The rows of JSON Lines. Raises Broken where a value is not what it should be."""
    with _duckdb.plain_file(content) as path:
        yield from _duckdb.read(partial(_call, path, "newline_delimited", columns, options), columns, limit)


def count_lines(content: Content, columns: tuple[Column, ...], options: Any) -> int:
    """How many rows there are in JSON Lines."""
    with _duckdb.plain_file(content) as path:
        return _duckdb.count(partial(_call, path, "newline_delimited", columns, options))


def document_rows(
    content: Content, columns: tuple[Column, ...], options: Any, limit: int | None
) -> Iterator[pl.DataFrame]:
    """The rows of a JSON document. Raises Broken where it is none, or a value is not what it should be."""
    with _duckdb.plain_file(content) as path, _array(path, enveloped=options.envelope) as array:
        source = partial(_call, array, "array", columns, options)
        yield from _duckdb.read(source, columns, limit, at_once=_ARRAY_ROWS)


def count_document(content: Content, columns: tuple[Column, ...], options: Any) -> int:
    """How many rows there are in a JSON document."""
    with _duckdb.plain_file(content) as path, _array(path, enveloped=options.envelope) as array:
        return _duckdb.count(partial(_call, array, "array", columns, options))


@contextmanager
def _array(path: Path, *, enveloped: bool) -> Iterator[Path]:
    """A file with the document's array alone, which can be read as a stream."""
    if not enveloped:
        yield path
        return
    with staging_folder() as folder:
        bare = folder / "array.json"
        with path.open("rb") as whole, bare.open("wb") as target:
            whole.seek(_array_begins(whole.read(_HEAD_BYTES)))
            shutil.copyfileobj(whole, target, _COPY_BYTES)
            end = target.tell() - 2
            target.truncate(max(end, 0))
        with path.open("rb") as whole:
            whole.seek(-3, 2)
            if whole.read() != b"]}\n":
                raise Broken("the file does not end as it should: it is no whole JSON document")
        yield bare


def _array_begins(head: bytes) -> int:
    """Where the array stands after its valid metadata."""
    text = head.decode(errors="ignore")
    before, between = '{"metadata": ', ',\n"data": '
    try:
        _, end = json.JSONDecoder().raw_decode(text, len(before))
    except ValueError:
        end = 0
    if not text.startswith(before) or not text.startswith(f"{between}[", end):
        raise Broken("the file does not begin as it should: it is no JSON document of this program")
    return len((text[:end] + between).encode())


def _call(
    path: Path, layout: str, columns: tuple[Column, ...], options: JsonValueOptions, limits: _duckdb.Limits
) -> AbstractContextManager[sql.Composed]:
    """What reads the rows, with columns named by place."""
    places = [sql.Identifier(_duckdb.place(index)) for index in range(len(columns))]
    ways = sql.SQL("format = {}, maximum_object_size = {}, compression = 'none'").format(
        _duckdb.literal(layout), sql.Literal(limits.row_bytes)
    )
    file = _duckdb.file(path)
    if len({column.name.casefold() for column in columns}) == len(columns):
        values: list[sql.Composable] = [sql.Identifier(column.name) for column in columns]
        types = _duckdb.struct({column.name: _type(column, options) for column in columns})
        call = sql.SQL("read_json({}, columns = {}, {})").format(file, types, ways)
    else:
        # DuckDB takes names that differ in case only for the same.
        values = [_extracted(column, options) for column in columns]
        call = sql.SQL("read_json_objects({}, {})").format(file, ways)
    named = (sql.SQL("{} AS {}").format(value, place) for value, place in zip(values, places, strict=True))
    return nullcontext(sql.SQL("(SELECT {} FROM {})").format(sql.SQL(", ").join(named), call))


def _extracted(column: Column, options: JsonValueOptions) -> sql.Composed:
    pointer = _duckdb.literal(f"/{column.name.replace('~', '~0').replace('/', '~1')}")
    if column.type.kind is Kind.JSON:
        return sql.SQL("nullif((json -> {})::VARCHAR, 'null')").format(pointer)
    return sql.SQL("(json ->> {})::{}").format(pointer, sql.SQL(_type(column, options)))


def _type(column: Column, options: JsonValueOptions) -> str:
    if column.type.kind is Kind.JSON:
        return "JSON"
    if column.type.kind is Kind.DECIMAL and options.decimals == "number":
        return "DOUBLE"
    return _duckdb.duckdb_type(column)


LINES = Reader(rows=line_rows, count=count_lines, held=held)
DOCUMENT = Reader(rows=document_rows, count=count_document, held=held)
