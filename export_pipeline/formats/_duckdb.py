"""Files read again by DuckDB, which shares no code with what wrote them, as batches of the declared types."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg import sql

from export_pipeline.ahead import ahead
from export_pipeline.model.dataset import Column, Kind
from export_pipeline.model.errors import Broken, ExportError, Rejected
from export_pipeline.model.verification import Content
from export_pipeline.staging import staging_folder

if TYPE_CHECKING:
    import duckdb
    import polars as pl

_BATCH_ROWS = 8_192
#: With a single thread DuckDB fills each batch, however wide its rows are; with two, one ends where a piece of the file
#: does: a buffer, a group of rows.
_THREADS = 2
#: Measured: with one, either side waits for the other now and then, for a sixth of the time that reading takes.
_BATCHES_AHEAD = 2


@dataclass(frozen=True)
class Limits:
    """Bytes in a row at most, in the buffers of which DuckDB keeps some, and the memory that it may take."""

    row_bytes: int
    buffer_bytes: int
    memory: str


#: Measured with 1,000,000 rows of 330 MB: 0.65 s and 140 MB; with DuckDB's own buffers 1.0 s and 480 MB.
_USUAL, _GENEROUS = Limits(4 << 20, 8 << 20, "192MB"), Limits(64 << 20, 128 << 20, "2GB")
#: What is tried, one after the other; and where a whole file is read as one piece, of which DuckDB keeps what fits.
_LIMITS = (_USUAL, _GENEROUS)
LIMITS_OF_ONE_PIECE = (Limits(4 << 20, 8 << 20, "64MB"), _GENEROUS)


#: How DuckDB's errors begin that tell of what it could not parse or convert, also by way of Arrow, where their type is
#: another. One without a type of its own is of Parquet's parser.
_DAMAGE = ("Invalid Input Error:", "Conversion Error:", "Out of Range Error:", "Serialization Error:", "Invalid Error:")


class LongRow(Exception):
    """A row is longer than the limits allow: raised by a source where DuckDB may leave it out without a word."""


#: A table function's call for a file with rows of such a size, which can be run once while the context lasts.
Source = Callable[[Limits], AbstractContextManager[sql.Composable]]

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


def read(
    source: Source,
    columns: tuple[Column, ...],
    rows: int | None,
    *,
    at_once: int = _BATCH_ROWS,
    tries: Sequence[Limits] | None = None,
) -> Iterator[pl.DataFrame]:
    """The rows of a table function's call, whose columns are named by place, in batches of `at_once` at most; with
    further limits where the first do not do. Raises Broken where the file is damaged or holds something else."""
    import polars as pl

    names = sql.SQL(", ").join(sql.Identifier(place(index)) for index in range(len(columns)))
    zones = [
        pl.col(place(index)).cast(pl.Datetime("us", "UTC"))
        for index, column in enumerate(columns)
        if column.type.kind is Kind.TIMESTAMP
    ]
    before, tries = 0, tries or _LIMITS
    for limits in tries:
        limit = sql.SQL("") if rows is None else sql.SQL(" LIMIT {}").format(sql.Literal(max(rows - before, 0)))
        try:
            with source(limits) as call, _connection(limits) as connection:
                query = sql.SQL("SELECT {} FROM {} OFFSET {}{}").format(names, call, sql.Literal(before), limit)
                # What is still being read when this ends is let go of here, else it would keep the file open.
                with connection.sql(query.as_string()).to_arrow_reader(at_once) as batches:
                    for batch in ahead(batches, _BATCHES_AHEAD):
                        frame = pl.DataFrame(pl.from_arrow(batch)).with_columns(zones)
                        frame.columns = [column.name for column in columns]
                        before += frame.height
                        yield frame
            return
        except ExportError:
            raise
        except Exception as error:
            _pass_interrupt(error)
            # A very long row may be the reason: the next limits have room for it.
            if limits is tries[-1]:
                raise _unreadable(error) from error


def count(source: Source, *, tries: Sequence[Limits] | None = None) -> int:
    """How many rows a table function's call yields. Raises Broken like `read`."""
    tries = tries or _LIMITS
    for limits in tries:
        try:
            with source(limits) as call, _connection(limits) as connection:
                [[rows]] = connection.sql(sql.SQL("SELECT count(*) FROM {}").format(call).as_string()).fetchall()
                return int(rows)
        except ExportError:
            raise
        except Exception as error:
            _pass_interrupt(error)
            if limits is tries[-1]:
                raise _unreadable(error) from error
    raise AssertionError


def _unreadable(error: Exception) -> Broken:
    import duckdb

    long = f"a row has more than {_LIMITS[-1].row_bytes >> 20} MiB, too long to be read back"
    if isinstance(error, LongRow):
        return Broken(f"{long}; choose --verify off or another format")
    # The rest of its text may hold a value out of the rows.
    kind = type(error).__name__
    if type(error) is duckdb.Error or str(error).startswith(_DAMAGE):
        return Broken(f"the file cannot be read back ({kind}): it is damaged, or {long}")
    return Broken(f"the file could not be read back by DuckDB ({kind}); choose --verify off or another format")


def _pass_interrupt(error: Exception) -> None:
    """Ctrl-C as itself: DuckDB makes an error of its own of it."""
    if type(error) is RuntimeError and "interrupted" in str(error):
        raise KeyboardInterrupt from error


def literal(text: str) -> sql.SQL:
    """The text as DuckDB reads it back: a backslash is one, where PostgreSQL's literals would escape it."""
    quoted = text.replace("'", "''")
    return sql.SQL(f"'{quoted}'")


@contextmanager
def plain_file(content: Content) -> Iterator[Path]:
    """The content as a file of this machine under a name of our own: DuckDB takes others for patterns, chooses what
    unpacks them by their endings, and cannot open those that are no UTF-8."""
    with content.file() as path, staging_folder() as folder:
        link = folder / "file"
        link.symlink_to(path.absolute())
        yield link


def file(path: Path) -> sql.Composed:
    """A table function's first arguments, for this file in a temporary folder: no pattern, whatever that is called, and
    no column is read out of its name."""
    name = "".join(f"[{character}]" if character in "*?[" else character for character in str(path))
    return sql.SQL("{}, hive_partitioning = false").format(literal(name))


def struct(values: Mapping[str, str]) -> sql.Composed:
    """A literal such as {'c0': 'BIGINT'}."""
    pairs = (sql.SQL("{}: {}").format(literal(name), literal(value)) for name, value in values.items())
    return sql.SQL("{{{}}}").format(sql.SQL(", ").join(pairs))


@contextmanager
def _connection(limits: Limits) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    config: dict[str, Any] = {
        "memory_limit": limits.memory,
        "threads": str(_THREADS),
        "TimeZone": "UTC",
        "autoinstall_known_extensions": "false",
        "temp_directory": "",
        # Texts of a batch may take more than 2 GiB.
        "arrow_large_buffer_size": "true",
    }
    connection = duckdb.connect(config=config)
    try:
        yield connection
    finally:
        connection.close()


def minified(batch: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """The batch with these columns' JSON texts as DuckDB writes them: without white space; `null` is null. Raises
    Rejected for one that is no valid JSON."""
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
                    f"{name} holds a value that is no valid JSON; leave the column out, or correct the value"
                ) from error
            batch = batch.with_columns(pl.DataFrame(pl.from_arrow(found))["value"].cast(pl.String).alias(name))
    finally:
        connection.close()
    return batch
