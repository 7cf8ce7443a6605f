"""What somebody would write instead of an export, one function each, as they are found in the wild. Run as a process:
reads a task as JSON from standard input, prints how many rows were written.
"""

import json
import sys
from typing import Any

_CHUNK_ROWS = 50_000


def pandas(url: str, query: str, path: str) -> int:
    """`pandas.read_sql` and `to_csv`."""
    import pandas as pd
    from sqlalchemy import create_engine

    frame = pd.read_sql(query, create_engine(url.replace("postgresql://", "postgresql+psycopg://")))
    frame.to_csv(path, index=False)
    return len(frame)


def pandas_parquet(url: str, query: str, path: str) -> int:
    """`pandas.read_sql` and `to_parquet`."""
    import pandas as pd
    from sqlalchemy import create_engine

    frame = pd.read_sql(query, create_engine(url.replace("postgresql://", "postgresql+psycopg://")))
    frame.to_parquet(path, index=False)
    return len(frame)


def csv_module(url: str, query: str, path: str) -> int:
    """A server-side cursor and the csv module."""
    import csv

    import psycopg

    rows = 0
    with psycopg.connect(url) as connection, connection.cursor(name="export") as cursor, open(path, "w") as file:  # noqa: PTH123
        cursor.itersize = _CHUNK_ROWS
        cursor.execute(query)  # type: ignore[arg-type]
        writer = csv.writer(file)
        writer.writerow([column.name for column in cursor.description or ()])
        for row in cursor:
            writer.writerow(row)
            rows += 1
    return rows


def duckdb_parquet(url: str, query: str, path: str) -> int:
    """Rows by psycopg into DuckDB, batch by batch, and COPY to Parquet: its own reader of PostgreSQL is an extension
    that has to be downloaded."""
    import duckdb
    import psycopg
    import pyarrow as pa

    rows = 0
    target = duckdb.connect()
    with psycopg.connect(url) as connection, connection.cursor(name="export") as cursor:
        cursor.itersize = _CHUNK_ROWS
        cursor.execute(query)  # type: ignore[arg-type]
        names = [column.name for column in cursor.description or ()]
        schema: Any = None
        while found := cursor.fetchmany(_CHUNK_ROWS):
            columns = [pa.array(values) for values in zip(*found, strict=True)]
            batch = pa.table(columns, names=names)
            target.register("batch", batch)
            if schema is None:
                schema = target.execute("CREATE TABLE result AS SELECT * FROM batch")
            else:
                target.execute("INSERT INTO result SELECT * FROM batch")
            rows += len(found)
    target.execute(f"COPY result TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
    return rows


def fastavro(url: str, query: str, path: str) -> int:
    """A server-side cursor and fastavro, with the same schema and codec as ours."""
    from decimal import Decimal

    import fastavro
    import psycopg

    kinds = {20: "long", 23: "long", 701: "double", 16: "boolean"}
    special: dict[int, Any] = {
        1184: {"type": "long", "logicalType": "timestamp-micros"},
        1700: {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 4},
    }
    rows = 0
    with psycopg.connect(url) as connection, connection.cursor(name="export") as cursor:
        cursor.itersize = _CHUNK_ROWS
        cursor.execute(query)  # type: ignore[arg-type]
        described = cursor.description or ()
        fields = [
            {
                "name": column.name,
                "type": ["null", special.get(column.type_code) or kinds.get(column.type_code, "string")],
            }
            for column in described
        ]
        names = [column.name for column in described]

        def records() -> Any:
            nonlocal rows
            for row in cursor:
                rows += 1
                yield {
                    name: value if not isinstance(value, Decimal) else value.quantize(Decimal("0.0001"))
                    for name, value in zip(names, row, strict=True)
                }

        with open(path, "wb") as file:  # noqa: PTH123
            fastavro.writer(file, {"type": "record", "name": "row", "fields": fields}, records(), codec="snappy")
    return rows


def dlt_csv(url: str, query: str, path: str) -> int:
    """dlt, as its documentation reads a query: rows by SQLAlchemy, chunk by chunk, to CSV files in a folder."""
    import shutil

    import dlt
    import sqlalchemy as sa

    folder = f"{path}.dlt"
    rows = 0

    @dlt.resource(name="results")
    def results() -> Any:
        nonlocal rows
        engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        with engine.connect().execution_options(stream_results=True, yield_per=_CHUNK_ROWS) as connection:
            for part in connection.execute(sa.text(query)).mappings().partitions():
                rows += len(part)
                yield [dict(row) for row in part]

    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=f"{folder}/state",
        destination=dlt.destinations.filesystem(bucket_url=f"{folder}/files"),
        dataset_name="export",
    )
    try:
        pipeline.run(results(), loader_file_format="csv")
        return rows
    finally:
        shutil.rmtree(folder)


SCRIPTS = {
    "pandas": pandas,
    "csv module": csv_module,
    "duckdb parquet": duckdb_parquet,
    "pandas parquet": pandas_parquet,
    "dlt": dlt_csv,
    "fastavro": fastavro,
}

if __name__ == "__main__":
    task = json.load(sys.stdin)
    print(SCRIPTS[task["name"]](task["database_url"], task["query"], task["path"]))
