"""Parquet: real types (UTC timestamps, decimals), compressed by column, with its own story in the file's metadata."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

from psycopg import sql
from pydantic import Field

from export_pipeline import __version__
from export_pipeline.formats import _duckdb
from export_pipeline.formats._nested import nested
from export_pipeline.formats._nested_values import compared
from export_pipeline.formats._sink import RowCount, SinkTarget, surfacing
from export_pipeline.model.dataset import Column, Kind
from export_pipeline.model.errors import Broken
from export_pipeline.model.format import FileContext, Format, Options
from export_pipeline.model.verification import Content, Reader

if TYPE_CHECKING:
    import polars as pl

_ZSTD_LEVEL = 3
#: The most bytes of a row group's rows, of which a few are in memory at a time, by the size of the first rows.
_GROUP_BYTES = 32 << 20
#: The file's last bytes that are kept to read its footer: enough for hundreds of millions of rows.
_TAIL_BYTES = 4 << 20
#: Where the file's metadata say what became of JSON columns: without it, a text is not told from JSON.
_STRUCTURES = "structures"


class ParquetOptions(Options):
    """What can be chosen for a Parquet file."""

    compression: Literal["zstd", "snappy", "lz4", "gzip", "none"] = Field(
        "zstd",
        description="How columns are compressed: `zstd` (level 3) is small and fast, `snappy` the widest known.",
    )
    # Measured: with 131,072 rows of 350 bytes the process takes 50 MB more, and 30 MB more again if the target is slow.
    row_group_rows: int = Field(
        65_536,
        ge=1_000,
        le=1_048_576,
        description="Rows in a row group at most; a few are in memory at a time. Where the first rows are wide (long "
        "texts), as many as take 32 MiB in memory.",
    )

    nested: Literal["text", "struct"] = Field(
        "text",
        description="JSON columns as JSON text, or as structs and lists of what their values hold: a part that is of "
        "several types, has more than 250 keys or a number beyond 64 bits, stays JSON text; a number that may have a "
        "fraction is a 64-bit float. The rows are staged then.",
    )


def write(frame: pl.LazyFrame, target: BinaryIO, context: FileContext, options: ParquetOptions) -> int:
    """Writes the frame as Parquet; see `Write`. Every value can be held. Raises Broken where the file's footer does not
    count the rows that went in."""
    names = [column.name for column in context.columns if column.type.kind is Kind.JSON]
    if options.nested == "struct" and names:
        with nested(frame, names) as (shaped, shapes):
            return _write(shaped, target, options, _metadata(context) | {_STRUCTURES: json.dumps(shapes)})
    return _write(frame, target, options, _metadata(context))


def _write(frame: pl.LazyFrame, target: BinaryIO, options: ParquetOptions, metadata: dict[str, str]) -> int:
    count, sink = RowCount(), _TailTarget(target)
    with surfacing(sink):
        frame, row_bytes = _peeked(frame)
        count.put_into(frame).sink_parquet(
            cast(BinaryIO, sink),
            compression="uncompressed" if options.compression == "none" else options.compression,
            compression_level=_ZSTD_LEVEL if options.compression == "zstd" else None,
            statistics=True,
            row_group_size=max(1, min(options.row_group_rows, _GROUP_BYTES // row_bytes)),
            metadata=metadata,
            maintain_order=True,
            engine="streaming",
        )
    written = sink.footer_rows()
    if written is not None and written != count.rows:
        raise Broken(f"{count.rows:,} rows went into the file and its footer counts {written:,}; try again")
    return count.rows


def _peeked(frame: pl.LazyFrame) -> tuple[pl.LazyFrame, int]:
    """The same frame, and how many bytes its first rows take each. The size of row groups has to be said before."""
    from polars.io.plugins import register_io_source

    schema = frame.collect_schema()
    batches = frame.collect_batches(maintain_order=True, engine="streaming")
    first = next(batches, None)
    if first is None:
        return frame.clear(), 1

    def read(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        for batch in chain([first], batches):
            yield batch if with_columns is None else batch.select(with_columns)

    return register_io_source(io_source=read, schema=schema), max(
        1, int(first.estimated_size()) // max(1, first.height)
    )


def _metadata(context: FileContext) -> dict[str, str]:
    columns = {column.name: {"type": str(column.type), "description": column.description} for column in context.columns}
    return {
        "export_id": context.export_id,
        "dataset": context.dataset,
        "title": context.title,
        "snapshot_at": context.snapshot_at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "columns": json.dumps(columns, ensure_ascii=False),
        "written_by": f"export_pipeline {__version__}",
    }


class _TailTarget(SinkTarget):
    """A target that remembers the file's end."""

    def __init__(self, target: BinaryIO) -> None:
        super().__init__(target)
        self._chunks: deque[bytes] = deque()
        self._bytes = 0

    def write(self, data: bytes) -> int:
        written = super().write(data)
        self._chunks.append(bytes(data))
        self._bytes += written
        while self._bytes - len(self._chunks[0]) >= _TAIL_BYTES:
            self._bytes -= len(self._chunks.popleft())
        return written

    def footer_rows(self) -> int | None:
        """How many rows the file says it has; None where the footer is longer than what is remembered."""
        import pyarrow as pa
        import pyarrow.parquet

        tail = b"".join(self._chunks)
        if int.from_bytes(tail[-8:-4], "little") + 8 > len(tail):
            return None
        return int(pyarrow.parquet.read_metadata(pa.BufferReader(tail)).num_rows)


def read(
    content: Content, columns: tuple[Column, ...], options: ParquetOptions, limit: int | None
) -> Iterator[pl.DataFrame]:
    """The file's rows. Raises Broken where a column is not there under its name and type."""
    # By place: DuckDB takes names that differ in case only for the same.
    places = [sql.Identifier(_duckdb.place(index)) for index in range(len(columns))]
    values = sql.SQL(", ").join(
        sql.SQL("{}::{} AS {}").format(_value(place, column, options), sql.SQL(_type(column)), place)
        for place, column in zip(places, columns, strict=True)
    )
    with _duckdb.plain_file(content) as path:
        _check_names(path, columns)
        shapes = _structures(path, columns) if options.nested == "struct" else {}
        call = sql.SQL("(SELECT {} FROM {} AS file({}))").format(values, _call(path), sql.SQL(", ").join(places))
        for batch in _duckdb.read(lambda limits: nullcontext(call), columns, limit):
            yield batch.with_columns(compared(batch[name], shape) for name, shape in shapes.items())


def _structures(path: Path, columns: tuple[Column, ...]) -> dict[str, Any]:
    """What became of JSON columns."""
    import pyarrow.parquet

    names = [column.name for column in columns if column.type.kind is Kind.JSON]
    found = json.loads((pyarrow.parquet.read_metadata(path).metadata or {}).get(_STRUCTURES.encode(), b"{}"))
    if names and list(found) != names:
        raise Broken("the file does not say which structures it has")
    return found  # type: ignore[no-any-return]


def _check_names(path: Path, columns: tuple[Column, ...]) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        found = pyarrow.parquet.read_schema(path).names
    except (pa.ArrowException, OSError) as error:
        raise Broken("the file cannot be read back: it is no whole Parquet file") from error
    if found != [column.name for column in columns]:
        raise Broken(f"the file's columns are {', '.join(found)}")


def held(batch: pl.DataFrame, columns: tuple[Column, ...], options: ParquetOptions) -> pl.DataFrame:
    """A value that becomes a struct as it is compared."""
    if options.nested == "text":
        return batch
    return batch.with_columns(compared(batch[column.name]) for column in columns if column.type.kind is Kind.JSON)


def _type(column: Column) -> str:
    # With its zone, as it is in the file: to take that away costs half as much as all the rest.
    return "TIMESTAMPTZ" if column.type.kind is Kind.TIMESTAMP else _duckdb.duckdb_type(column)


def _value(place: sql.Identifier, column: Column, options: ParquetOptions) -> sql.Composable:
    if options.nested == "struct" and column.type.kind is Kind.JSON:
        return sql.SQL("to_json({})").format(place)
    return place


def count(content: Content, columns: tuple[Column, ...], options: ParquetOptions) -> int:
    """How many rows the file has."""
    with _duckdb.plain_file(content) as path:
        return _duckdb.count(lambda limits: nullcontext(_call(path)))


def _call(path: Path) -> sql.Composed:
    return sql.SQL("read_parquet({})").format(_duckdb.file(path))


FORMAT = Format(
    name="parquet",
    title="Parquet",
    description="Columns with real types, compressed; for analysis with DuckDB, Polars, pandas, Spark and the "
    "like. Each row group tells the least and greatest value of each column, so that filters on a time are quick (see "
    "[Parquet](parquet.md)).",
    extension="parquet",
    media_type="application/vnd.apache.parquet",
    options=ParquetOptions,
    write=write,
    for_people=lambda options: False,
    reader=Reader(rows=read, count=count, held=held),
)
