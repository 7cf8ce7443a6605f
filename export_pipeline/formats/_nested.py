"""JSON columns as structs and lists, for formats that have them: the rows are staged, since only all of them tell which
keys and types there are; DuckDB finds these out, and makes structs of the texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg import sql

from export_pipeline.formats._nested_values import JSON_TEXT, fitting, refusal
from export_pipeline.formats._sink import stage
from export_pipeline.formats._structure import NOTHING, structure_of
from export_pipeline.formats._surrogates import refuse_halves
from export_pipeline.staging import staging_folder

if TYPE_CHECKING:
    import duckdb
    import polars as pl

#: What lies deeper stays text: Arrow itself gives up at 64.
_MOST_DEPTH = 32
#: Each list within a list doubles the time that DuckDB takes to read a value back: 12 are 4 ms, 22 are 1.6 s.
_MOST_LISTS = 12
#: Measured: a value of many small parts takes 20 times its bytes, so that there is room for one of some 50 MB.
_MOST_MEMORY = "2GB"
#: What may be a number that a float cannot hold, and a key with a NUL: these values are looked at one by one.
_NUMBER = r"(?:^|[:\[,])\s*-?(?:[0-9]{16}|[0-9.]+[eE])"
_NUL = r"\\u0000"


@contextmanager
def nested(frame: pl.LazyFrame, names: list[str]) -> Iterator[tuple[pl.LazyFrame, Mapping[str, Any]]]:
    """The frame, in which these columns' JSON texts are structs, lists, numbers, texts or booleans; and the columns'
    structures, as DuckDB writes them.

    What is sometimes the one and sometimes the other stays JSON text; so does what lies over 32 levels or 12 lists
    deep, numbers beyond what 64 bits hold, and objects without keys, with more than 250, those of their parts included,
    with an empty one, or with keys that differ in case only. A column with a key that has a NUL, deeper than DuckDB
    goes, or with a value of more than some 50 MB is text as a whole. Numbers of which one
    has a fraction are binary floating point. A key that a row lacks is null. Raises Rejected for a text that is no
    JSON, naming the row where half of a surrogate pair is all that is wrong.
    """
    import polars as pl

    with staging_folder() as folder:
        staged = folder / "rows.arrow"
        stage(refuse_halves(frame, names), staged)
        shapes = {name: _shape(staged, name) for name in names}
        with _connection() as connection:

            def shaped(batch: pl.DataFrame) -> pl.DataFrame:
                return batch.with_columns(
                    _transformed(connection, batch.get_column(name), shape) for name, shape in shapes.items()
                )

            rows = pl.scan_ipc(staged)
            schema = shaped(pl.DataFrame(schema=rows.collect_schema())).schema
            yield rows.map_batches(shaped, streamable=True, schema=schema), shapes


@contextmanager
def _connection() -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    connection = duckdb.connect(
        config={
            "memory_limit": _MOST_MEMORY,
            "threads": "1",
            "autoinstall_known_extensions": "false",
            "temp_directory": "",
        }
    )
    try:
        yield connection
    finally:
        connection.close()


def _shape(staged: Path, name: str) -> Any:
    """The structure of all the column's values, as DuckDB writes it."""
    import duckdb
    import pyarrow as pa

    # Each has a connection of its own, as there are values that leave one useless.
    with _connection() as connection, pa.OSFile(str(staged)) as source, pa.ipc.open_file(source) as file:
        batches = (file.get_batch(index).select([name]) for index in range(file.num_record_batches))
        try:
            found = structure_of(connection, batches)
        except duckdb.Error:
            found = JSON_TEXT
            # What is JSON all the same stays text, such as what lies deeper than DuckDB goes.
            for text in _texts(staged, name, ""):
                _checked(JSON_TEXT, text, name)
    shape = _writable(found)
    if shape != JSON_TEXT:
        for text in _texts(staged, name, f"{_NUL}|{_NUMBER}" if "DOUBLE" in json.dumps(found) else _NUL):
            shape = _checked(shape, text, name)
    return shape


def _checked(shape: Any, text: str, name: str) -> Any:
    try:
        return fitting(shape, text)
    except ValueError as error:
        raise refusal(name) from error


def _texts(staged: Path, name: str, pattern: str) -> Iterator[str]:
    """The column's values in which there is a match."""
    import polars as pl

    found = pl.scan_ipc(staged).select(name).filter(pl.col(name).str.contains(pattern))
    for batch in found.collect_batches():
        yield from batch.to_series()


def _writable(shape: Any, depth: int = 1, lists: int = 0) -> Any:
    """The structure, with text in place of what no struct can hold. Whole numbers past 64 bits would become floats."""
    lists += isinstance(shape, list)
    if isinstance(shape, list | dict) and (depth > _MOST_DEPTH or lists > _MOST_LISTS):
        return JSON_TEXT
    if isinstance(shape, list):
        return [_writable(part, depth + 1, lists) for part in shape]
    if isinstance(shape, dict):
        if not shape or "" in shape or len({key.casefold() for key in shape}) < len(shape):
            return JSON_TEXT
        return {key: _writable(part, depth + 1, lists) for key, part in shape.items()}
    return JSON_TEXT if shape in (NOTHING, "HUGEINT") else shape


def _transformed(connection: duckdb.DuckDBPyConnection, values: pl.Series, shape: Any) -> pl.Series:
    import polars as pl

    if shape == JSON_TEXT:
        # As it came: there may be values that DuckDB does not take.
        return values.set(values.str.strip_chars() == "null", None)
    query = sql.SQL("SELECT json_transform(value::JSON, {}) AS value FROM batch").format(sql.Literal(json.dumps(shape)))
    # Batches come from several threads.
    with connection.cursor() as cursor:
        cursor.register("batch", values.alias("value").to_frame().to_arrow())
        found = pl.DataFrame(pl.from_arrow(cursor.sql(query.as_string()).to_arrow_table()))
    return found.to_series().alias(values.name)
