"""JSON columns as structs and lists, for formats that have them: the rows are staged, since only all of them tell which
keys and types there are; DuckDB finds these out, and makes structs of the texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg import sql

from export_pipeline.formats._sink import stage, staging_folder
from export_pipeline.formats._surrogates import refuse_halves
from export_pipeline.model.errors import Rejected

if TYPE_CHECKING:
    import duckdb
    import polars as pl

_JSON_TEXT = "JSON"
#: What lies deeper stays text: Arrow itself gives up at 64.
_MOST_DEPTH = 32
#: Each list within a list doubles the time that DuckDB takes to read a value back: 12 are 4 ms, 22 are 1.6 s.
_MOST_LISTS = 12


@contextmanager
def nested(frame: pl.LazyFrame, names: list[str]) -> Iterator[pl.LazyFrame]:
    """The frame, in which these columns' JSON texts are structs, lists, numbers, texts or booleans.

    What is sometimes the one and sometimes the other stays JSON text; so does what lies over 32 levels or 12 lists
    deep, and objects without keys or with keys that differ in case only. Numbers of which one has a fraction are binary
    floating point. A key that a row lacks is null. Raises Rejected for a text that is no JSON, naming the row where
    half of a surrogate pair is all that is wrong.
    """
    import duckdb
    import polars as pl

    with staging_folder() as folder:
        staged = folder / "rows.arrow"
        stage(refuse_halves(frame, names), staged)
        connection = duckdb.connect(config={"threads": "1", "autoinstall_known_extensions": "false"})
        try:
            shapes = {name: _shape(connection, staged, name) for name in names}

            def shaped(batch: pl.DataFrame) -> pl.DataFrame:
                return batch.with_columns(
                    _transformed(connection, batch.get_column(name), shape) for name, shape in shapes.items()
                )

            rows = pl.scan_ipc(staged)
            schema = shaped(pl.DataFrame(schema=rows.collect_schema())).schema
            yield rows.map_batches(shaped, streamable=True, schema=schema)
        finally:
            connection.close()


def _shape(connection: duckdb.DuckDBPyConnection, staged: Path, name: str) -> str:
    """The structure of all the column's values, as DuckDB writes it."""
    import duckdb
    import pyarrow as pa

    with pa.OSFile(str(staged)) as source, pa.ipc.open_file(source) as file:
        batches = pa.RecordBatchReader.from_batches(
            file.schema.empty_table().select([name]).schema,
            (file.get_batch(index).select([name]) for index in range(file.num_record_batches)),
        )
        connection.register("staged", batches)
        query = sql.SQL("SELECT json_group_structure({}::JSON) FROM staged").format(sql.Identifier(name))
        try:
            [[found]] = connection.sql(query.as_string()).fetchall()
        except duckdb.Error as error:
            raise Rejected(
                f"{name} holds a value that is no valid JSON; leave the column out, correct the value, or take "
                "nested=text"
            ) from error
    return json.dumps(_writable(json.loads(found) if found else _JSON_TEXT))


def _writable(shape: Any, depth: int = 1, lists: int = 0) -> Any:
    """The structure, with text in place of what no struct can hold."""
    lists += isinstance(shape, list)
    if isinstance(shape, list | dict) and (depth > _MOST_DEPTH or lists > _MOST_LISTS):
        return _JSON_TEXT
    if isinstance(shape, list):
        return [_writable(part, depth + 1, lists) for part in shape]
    if isinstance(shape, dict):
        if not shape or len({key.casefold() for key in shape}) < len(shape):
            return _JSON_TEXT
        return {key: _writable(part, depth + 1, lists) for key, part in shape.items()}
    return _JSON_TEXT if shape == "NULL" else shape


def _transformed(connection: duckdb.DuckDBPyConnection, values: pl.Series, shape: str) -> pl.Series:
    import polars as pl

    query = sql.SQL("SELECT json_transform(value::JSON, {}) AS value FROM batch").format(sql.Literal(shape))
    # Batches come from several threads.
    with connection.cursor() as cursor:
        cursor.register("batch", values.alias("value").to_frame().to_arrow())
        found = pl.DataFrame(pl.from_arrow(cursor.sql(query.as_string()).to_arrow_table()))
    return found.to_series().alias(values.name)
