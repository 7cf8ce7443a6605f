"""Rows for formats to write, a target as a writer meets it, and other programs' readers to read them back."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import duckdb
import fastavro
import openpyxl
import polars as pl
import pyarrow.parquet
import python_calamine
from polars.io.plugins import register_io_source

from export_pipeline.model.dataset import (
    BOOLEAN,
    DATE,
    FLOAT,
    INTEGER,
    JSON,
    TEXT,
    TIMESTAMP,
    UUID,
    Column,
    Kind,
    decimal,
)
from export_pipeline.model.format import FileContext, Format
from export_pipeline.registry import load_parts

FORMATS = load_parts("export_pipeline.formats", "FORMAT", Format)
SNAPSHOT_AT = datetime(2010, 11, 17, 14, 3, 22, 123456, UTC)

#: One column of each kind.
COLUMNS = tuple(
    Column(name, kind, name, f"A column of {name}.", example="an example")
    for name, kind in {
        "text": TEXT,
        "uuid": UUID,
        "integer": INTEGER,
        "decimal": decimal(38, 4),
        "float": FLOAT,
        "boolean": BOOLEAN,
        "date": DATE,
        "timestamp": TIMESTAMP,
        "json": JSON,
    }.items()
)

_TYPES = {
    Kind.INTEGER: pl.Int64(),
    Kind.FLOAT: pl.Float64(),
    Kind.BOOLEAN: pl.Boolean(),
    Kind.DATE: pl.Date(),
    Kind.TIMESTAMP: pl.Datetime("us", "UTC"),
}

Row = tuple[Any, ...]


class OneWay:
    """A target that can only be written to, as an upload is; it fails once `fail_after` bytes have come."""

    def __init__(self, fail_after: int | None = None, error: BaseException | None = None) -> None:
        self.data = io.BytesIO()
        self._fail_after = fail_after
        self._error = error

    def write(self, data: Any) -> int:
        if self._error is not None and self.data.tell() + len(data) > (self._fail_after or 0):
            raise self._error
        return self.data.write(data)


def context(columns: Sequence[Column] = COLUMNS, title: str = "All types") -> FileContext:
    return FileContext("0192-id", "all_types", title, tuple(columns), SNAPSHOT_AT)


def frame(
    rows: Sequence[Row],
    columns: Sequence[Column] = COLUMNS,
    batch_rows: int = 1000,
    error: BaseException | None = None,
) -> pl.LazyFrame:
    """The rows as an extraction yields them: batch by batch out of a generator, which raises `error` at the end."""
    schema = {
        column.name: pl.Decimal(column.type.precision, column.type.scale)
        if column.type.kind is Kind.DECIMAL
        else _TYPES.get(column.type.kind, pl.String())
        for column in columns
    }

    def read(
        with_columns: list[str] | None, predicate: object, n_rows: object, batch_size: object
    ) -> Iterator[pl.DataFrame]:
        for start in range(0, len(rows), batch_rows):
            batch = pl.DataFrame(rows[start : start + batch_rows], schema=schema, orient="row")
            yield batch if with_columns is None else batch.select(with_columns)
        if error is not None:
            raise error

    return register_io_source(io_source=read, schema=pl.Schema(schema))


def write(name: str, rows: Sequence[Row], columns: Sequence[Column] = COLUMNS, **options: str) -> bytes:
    """The finished file."""
    form, target = FORMATS[name], OneWay()
    written = form.write(
        frame(rows, columns),
        target,
        context(columns),
        form.options.model_validate(options),  # type: ignore[arg-type]
    )
    assert written == len(rows)
    return target.data.getvalue()


def read_csv(data: bytes, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=delimiter))


def read_avro(data: bytes) -> Any:
    """A reader of the records, which also knows the schema."""
    return fastavro.reader(io.BytesIO(data))


def read_csv_with_duckdb(data: bytes, path: Any, columns: dict[str, str]) -> list[Row]:
    """Rows by another program, which tells null from an empty text."""
    path.write_bytes(data)
    return duckdb.read_csv(
        str(path), header=True, columns=columns, delimiter=",", quotechar='"', escapechar='"', allow_quoted_nulls=False
    ).fetchall()


def read_json(data: bytes) -> list[list[Any]]:
    """The rows' values, all of a number's digits kept."""
    return [list(row.values()) for row in json.loads(data, parse_float=Decimal)["data"]]


def read_jsonl(data: bytes) -> list[list[Any]]:
    """Like `read_json`, line by line; only a line feed ends a line."""
    return [list(json.loads(line, parse_float=Decimal).values()) for line in data.split(b"\n")[:-1]]


def read_parquet(data: bytes) -> list[Row]:
    table = pyarrow.parquet.read_table(io.BytesIO(data))
    return list(zip(*[column.to_pylist() for column in table.columns], strict=True)) if table.num_rows else []


def read_xlsx(data: bytes) -> list[list[Row]]:
    """The sheets' rows, headers included."""
    book = openpyxl.load_workbook(io.BytesIO(data))
    return [list(sheet.iter_rows(values_only=True)) for sheet in book]


def calamine_sheets(path: Any) -> list[list[list[Any]]]:
    """The sheets' rows by a quick reader, headers included."""
    book = python_calamine.CalamineWorkbook.from_path(str(path))
    return [book.get_sheet_by_index(index).to_python() for index in range(len(book.sheet_names))]
