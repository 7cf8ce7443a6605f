"""Parquet: types, metadata, row groups, and any rows read back equal."""

import io
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from export_pipeline.formats.parquet import ParquetOptions
from export_pipeline.model.dataset import INTEGER, JSON, Column
from export_pipeline.model.errors import Rejected
from export_pipeline_tests.formats import tables
from export_pipeline_tests.formats.tables import COLUMNS

ANY_ROW = st.tuples(
    st.none() | st.text(),
    st.none() | st.uuids().map(str),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.decimals(-(10**33), 10**33, places=4),
    st.none() | st.floats(allow_nan=False),
    st.none() | st.booleans(),
    st.none() | st.dates(),
    st.none() | st.datetimes(timezones=st.just(UTC)),
    st.none() | st.text(),
)


@settings(derandomize=True, max_examples=40, deadline=None, database=None)
@given(rows=st.lists(ANY_ROW, max_size=5))
def test_rows_when_any_then_read_back_equal(rows: list[tables.Row]) -> None:
    assert tables.read_parquet(tables.write("parquet", rows)) == rows


def test_schema_when_written_then_real_types() -> None:
    schema = pyarrow.parquet.read_schema(io.BytesIO(tables.write("parquet", [])))

    types = {field.name: field.type for field in schema}
    assert types["integer"] == pa.int64()
    assert types["decimal"] == pa.decimal128(38, 4)
    assert types["float"] == pa.float64()
    assert types["boolean"] == pa.bool_()
    assert types["date"] == pa.date32()
    assert types["timestamp"] == pa.timestamp("us", tz="UTC")
    assert pa.types.is_large_string(types["text"]) or pa.types.is_string(types["text"])


def test_rows_when_read_by_duckdb_then_equal(tmp_path: pytest.TempPathFactory) -> None:
    row = ("a", None, 1, None, 0.5, False, date(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), "{}")
    path = tmp_path / "file.parquet"  # type: ignore[operator]
    path.write_bytes(tables.write("parquet", [row]))

    found = duckdb.sql(
        f"SELECT text, integer, float, boolean, date, epoch_us(timestamp) FROM read_parquet('{path}')"
    ).fetchall()

    assert found == [("a", 1, 0.5, False, date(1, 1, 1), 253_402_300_799_999_999)]


def test_metadata_when_written_then_says_where_the_file_is_from() -> None:
    metadata = pyarrow.parquet.read_metadata(io.BytesIO(tables.write("parquet", []))).metadata

    assert metadata[b"export_id"] == b"0192-id"
    assert metadata[b"dataset"] == b"all_types"
    assert metadata[b"snapshot_at"] == b"2010-11-17T14:03:22.123456Z"
    assert metadata[b"written_by"].startswith(b"export_pipeline ")
    assert json.loads(metadata[b"columns"])["decimal"] == {
        "type": "decimal(38,4)",
        "description": "A column of decimal.",
    }


def test_row_groups_when_many_rows_then_of_the_size_chosen_with_statistics() -> None:
    column = Column("number", INTEGER, "number", "A number.")

    data = tables.write("parquet", [(n,) for n in range(5_000)], [column], row_group_rows="2000")

    metadata = pyarrow.parquet.read_metadata(io.BytesIO(data))
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    assert [group.num_rows for group in groups] == [2_000, 2_000, 1_000]
    statistics = groups[1].column(0).statistics
    assert (statistics.min, statistics.max, statistics.null_count) == (2_000, 3_999, 0)


@pytest.mark.parametrize("compression", ["zstd", "snappy", "lz4", "gzip", "none"])
def test_compression_when_chosen_then_used(compression: str) -> None:
    data = tables.write("parquet", [("a",) * 2], COLUMNS[:2], compression=compression)

    used = pyarrow.parquet.read_metadata(io.BytesIO(data)).row_group(0).column(0).compression
    assert used.lower().removesuffix("_raw") == {"none": "uncompressed"}.get(compression, compression)


def test_row_group_rows_when_out_of_bounds_then_refused() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1000"):
        ParquetOptions.model_validate({"row_group_rows": "1"})


NESTED = (
    '{"a": 1, "b": {"c": "x", "d": [1, 2.5]}, "mixed": 1, "none": null, "empty": {}}',
    '{"b": {"c": null}, "mixed": "t", "list": [{"x": 1}, {"y": true}]}',
    None,
    "null",
)


def write_nested(texts: Sequence[str | None], **options: str) -> bytes:
    columns = (Column("id", INTEGER, "", ""), Column("properties", JSON, "", ""))
    return tables.write("parquet", list(enumerate(texts)), columns, **options)


def test_json_when_nested_then_structs_and_lists_of_what_the_values_hold() -> None:
    table = pyarrow.parquet.read_table(io.BytesIO(write_nested(NESTED * 3_000, nested="struct")))
    assert table.num_rows == 12_000
    assert table.column("properties").to_pylist()[:4] == [
        {
            "a": 1,
            "b": {"c": "x", "d": [1.0, 2.5]},
            "mixed": "1",
            "none": None,
            "empty": "{}",
            "list": None,
        },
        {
            "a": None,
            "b": {"c": None, "d": None},
            "mixed": '"t"',
            "none": None,
            "empty": None,
            "list": [{"x": 1, "y": None}, {"x": None, "y": True}],
        },
        None,
        None,
    ]


@pytest.mark.parametrize("texts", [["[1, 2]", "[]"], ['{"A": 1, "a": 2}'], ["5", '"x"'], [None], []], ids=str)
def test_json_when_it_is_no_plain_object_then_written_all_the_same(texts: list[str | None]) -> None:
    table = pyarrow.parquet.read_table(io.BytesIO(write_nested(texts, nested="struct")))
    assert table.num_rows == len(texts)
    if texts == ["[1, 2]", "[]"]:
        assert table.column("properties").to_pylist() == [[1, 2], []]


def test_json_when_it_is_not_valid_then_refused_by_name() -> None:
    with pytest.raises(Rejected, match="row 2: properties holds half of a surrogate pair"):
        write_nested(["{}", '{"a": "\\ud800"}'], nested="struct")
    with pytest.raises(Rejected, match="properties holds a value that is no valid JSON"):
        write_nested(['{"a": '], nested="struct")


def test_json_when_nested_then_the_reader_agrees(tmp_path: Path) -> None:
    columns = (Column("id", INTEGER, "", ""), Column("properties", JSON, "", ""))
    path = tmp_path / "file.parquet"
    path.write_bytes(write_nested(NESTED, nested="struct"))
    reader, options = tables.FORMATS["parquet"].reader, ParquetOptions.model_validate({"nested": "struct"})
    assert reader is not None and reader.held is not None
    held = reader.held(tables.frame(list(enumerate(NESTED)), columns).collect(), columns, options)
    assert_frame_equal(pl.concat(reader.rows(path, columns, options, None)), held)
