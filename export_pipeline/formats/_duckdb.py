"""Files read again by DuckDB, which shares no code with what wrote them, as batches of the declared types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from psycopg import sql

from export_pipeline.model.dataset import Column, Kind
from export_pipeline.model.errors import Broken, Rejected

if TYPE_CHECKING:
    import duckdb
    import polars as pl

_BATCH_ROWS = 65_536
#: What reading may take beside the export's own memory. DuckDB spills nothing: it reads in passing.
_MEMORY = "192MB"

#: DuckDB's type of each kind. Timestamps are read without their zone, which is always UTC: five times as fast.
TYPES: Mapping[Kind, str] = {
    Kind.INTEGER: "BIGINT",
    Kind.FLOAT: "DOUBLE",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.DATE: "DATE",
    Kind.TIMESTAMP: "TIMESTAMP",
}


def duckdb_type(column: Column) -> str:
    """DuckDB's name of the column's type."""
    if column.type.kind is Kind.DECIMAL:
        return f"DECIMAL({column.type.precision},{column.type.scale})"
    return TYPES.get(column.type.kind, "VARCHAR")


def place(column: int) -> str:
    """A column's name while it is read: its place, as names need not be unlike in upper and lower case."""
    return f"c{column}"


def read(source: sql.Composable, columns: tuple[Column, ...], rows: int | None) -> Iterator[pl.DataFrame]:
    """The rows of a table function's call, whose columns are named by place. Raises Broken where the file is damaged or
    holds something else."""
    import polars as pl

    limit = sql.SQL("") if rows is None else sql.SQL(" LIMIT {}").format(sql.Literal(rows))
    names = sql.SQL(", ").join(sql.Identifier(place(index)) for index in range(len(columns)))
    zones = [
        pl.col(place(index)).cast(pl.Datetime("us", "UTC"))
        for index, column in enumerate(columns)
        if column.type.kind is Kind.TIMESTAMP
    ]
    query = sql.SQL("SELECT {} FROM {}{}").format(names, source, limit).as_string()
    with _connection(ordered=rows is not None) as connection:
        for batch in connection.sql(query).to_arrow_reader(_BATCH_ROWS):
            frame = pl.DataFrame(pl.from_arrow(batch)).with_columns(zones)
            frame.columns = [column.name for column in columns]
            yield frame


def count(source: sql.Composable) -> int:
    """How many rows a table function's call yields. Raises Broken like `read`."""
    with _connection(ordered=False) as connection:
        [[rows]] = connection.sql(sql.SQL("SELECT count(*) FROM {}").format(source).as_string()).fetchall()
        return int(rows)


def struct(values: Mapping[str, str]) -> sql.Composed:
    """A literal such as {'c0': 'BIGINT'}."""
    pairs = (sql.SQL("{}: {}").format(sql.Literal(name), sql.Literal(value)) for name, value in values.items())
    return sql.SQL("{{{}}}").format(sql.SQL(", ").join(pairs))


@contextmanager
def _connection(*, ordered: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    config: dict[str, Any] = {
        "memory_limit": _MEMORY,
        "threads": "2",
        "TimeZone": "UTC",
        "autoinstall_known_extensions": "false",
        "preserve_insertion_order": str(ordered).lower(),
        "temp_directory": "",
    }
    connection = duckdb.connect(config=config)
    try:
        yield connection
    except duckdb.Error as error:
        # Its text may hold a value out of the rows.
        raise Broken(f"the file cannot be read back ({type(error).__name__})") from error
    finally:
        connection.close()


def minified(batch: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """The batch with these columns' JSON texts as DuckDB writes them: without white space; `null` is null. Raises
    Rejected for one that is no valid JSON: PostgreSQL's `json` may hold a lone surrogate, which no text can."""
    import polars as pl

    if not names or not batch.height:
        return batch
    import duckdb

    connection = duckdb.connect(config={"threads": "1", "autoinstall_known_extensions": "false"})
    try:
        for name in names:
            values = batch.select(pl.col(name).alias("value")).to_arrow()
            connection.register("batch", values)
            try:
                found = connection.sql(
                    "SELECT nullif(json(value)::VARCHAR, 'null') AS value FROM batch"
                ).to_arrow_table()
            except duckdb.Error as error:
                raise Rejected(
                    f"{name} holds a value that is no valid JSON, such as half of a surrogate pair; leave the column "
                    "out, or correct the value"
                ) from error
            batch = batch.with_columns(pl.DataFrame(pl.from_arrow(found))["value"].cast(pl.String).alias(name))
    finally:
        connection.close()
    return batch
