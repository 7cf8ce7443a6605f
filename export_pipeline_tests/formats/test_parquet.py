"""Parquet: types, metadata, row groups, and any rows read back equal."""

import io
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from export_pipeline.flow.content import FileContent
from export_pipeline.formats.parquet import ParquetOptions
from export_pipeline.model.dataset import INTEGER, JSON, TEXT, Column
from export_pipeline.model.errors import Rejected
from export_pipeline_tests.formats import tables
from export_pipeline_tests.formats.tables import COLUMNS

START = datetime(2010, 1, 1, tzinfo=UTC)
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


#: How much of a file's end pyarrow reads at least, to have its footer.
FOOTER_BYTES = 65_536


class Counted(io.BytesIO):
    """A file that counts what is read of it."""

    read_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.read_bytes += len(data)
        return data


@pytest.mark.parametrize("by_time", [True, False])
def test_filter_when_rows_are_in_order_of_the_time_then_reads_little_of_the_file(by_time: bool) -> None:
    columns = (COLUMNS[0], COLUMNS[2], COLUMNS[7])
    # A prime step takes every row once, in no order of time.
    order = range(20_000) if by_time else [number * 7_919 % 20_000 for number in range(20_000)]
    rows = [(f"note {number * 7_919 % 1_000_003}", number, START + timedelta(minutes=number)) for number in order]
    data = tables.write("parquet", rows, columns, row_group_rows="1000")
    first, after = START + timedelta(days=2), START + timedelta(days=3)

    metadata = pyarrow.parquet.read_metadata(io.BytesIO(data))
    groups = [metadata.row_group(number).column(2) for number in range(metadata.num_row_groups)]
    assert all(group.has_column_index and group.has_offset_index for group in groups)
    can_match = [group.statistics.min < after and group.statistics.max >= first for group in groups]
    assert can_match.count(True) == (3 if by_time else 20)

    source = Counted(data)
    condition = (pc.field("timestamp") >= first) & (pc.field("timestamp") < after)
    table = pyarrow.parquet.read_table(source, filters=condition, pre_buffer=False)
    assert sorted(table["integer"].to_pylist()) == list(range(2 * 1440, 3 * 1440))
    assert (source.read_bytes - FOOTER_BYTES < 0.3 * len(data)) is by_time


def test_statistics_when_written_then_each_column_of_each_row_group_has_them() -> None:
    rows: list[tables.Row] = [
        ("a", "6f1c1f6e-2d0a-5c0e-9a44-0f3f0f9f6a10", n, Decimal(n), n / 4, True, date(2010, 1, 1), START, None)
        for n in range(2_500)
    ]
    metadata = pyarrow.parquet.read_metadata(io.BytesIO(tables.write("parquet", rows, row_group_rows="1000")))
    for number, (least, greatest) in enumerate([(0, 999), (1_000, 1_999), (2_000, 2_499)]):
        group = metadata.row_group(number)
        found = {COLUMNS[place].name: group.column(place).statistics for place in range(len(COLUMNS))}
        assert (found["integer"].min, found["integer"].max) == (least, greatest)
        assert (found["decimal"].min, found["decimal"].max) == (least, greatest)
        assert found["timestamp"].min == found["timestamp"].max == START
        assert found["json"].null_count == group.num_rows


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


def test_row_groups_when_rows_are_wide_then_fewer_rows_in_each() -> None:
    columns = (Column("number", INTEGER, "number", "A number."), Column("text", TEXT, "text", "A text."))
    rows = [(number, f"{number} " * 20_000) for number in range(1_200)]

    data = tables.write("parquet", rows, columns)

    assert tables.read_parquet(data) == rows
    metadata = pyarrow.parquet.read_metadata(io.BytesIO(data))
    # The uncompressed bytes are those in memory: texts of about 100 KB.
    assert metadata.num_row_groups > 2
    assert max(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups)) < 48 << 20


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


COMPARED = {
    "as it is": NESTED,
    "numbers": ('{"a": 1.0, "b": 1e22, "c": -0.0}', '{"a": 2, "b": 1, "c": 0.1, "d": 18446744073709551615}'),
    "an infinite number": ('{"a": 1e400, "b": {"c": [1, -1e999]}}', '{"a": 1}'),
    "long numbers": (
        '{"a": 12345678901234567890123, "b": [100000000000000000000], "c": -1}',
        '{"c": 9223372036854775808}',
    ),
    "a long number among floats": ('{"a": 9007199254740993}', '{"a": 0.5}'),
    "an empty key": ('{"": 1}', '{"a": {"": 1}}'),
    "a key with a NUL": (r'{"k\u0000x": 1, "k": 2}', r'{"k\u0000": 1}'),
    "a text with a NUL": (r'{"k": "x\u0000y"}',),
    "deep": ("[" * 1_200 + "]" * 1_200, '{"a": 1}'),
    "deeper than structs": ("[" * 100 + "1" + "]" * 100, "[]"),
    "JSON in a text": ('{"a": "[1, 2]"}', '{"a": "null"}', '{"b": [null, {"c": null}]}'),
    "no structure": ("5", ' "x"', " null ", None),
}


@pytest.mark.parametrize("texts", COMPARED)
def test_json_when_nested_then_the_reader_agrees(tmp_path: Path, texts: str) -> None:
    compare_nested(tmp_path, COMPARED[texts], COMPARED[texts])


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ('{"a": 1e400}', '{"a": 1e401}'),
        ('{"a": 12345678901234567890123}', '{"a": 12345678901234567890124}'),
        ('{"a": 1}', '{"a": 2}'),
        ('{"a": 1}', '{"b": 1}'),
        ('{"a": "1"}', '{"a": 1}'),
        ('{"a": {}}', '{"a": null}'),
        ("[null]", "[]"),
    ],
)
def test_json_when_nested_and_a_value_is_another_then_the_reader_sees_it(tmp_path: Path, text: str, other: str) -> None:
    with pytest.raises(AssertionError, match="DataFrames are different"):
        compare_nested(tmp_path, [text], [other])


def compare_nested(folder: Path, texts: Sequence[str | None], read: Sequence[str | None]) -> None:
    """Writes the texts as structs, and compares what is read of them with the others."""
    columns = (Column("id", INTEGER, "", ""), Column("properties", JSON, "", ""))
    path = folder / "file.parquet"
    path.write_bytes(write_nested(texts, nested="struct"))
    reader, options = tables.FORMATS["parquet"].reader, ParquetOptions.model_validate({"nested": "struct"})
    assert reader is not None and reader.held is not None
    held = reader.held(tables.frame(list(enumerate(read)), columns).collect(), columns, options)
    assert_frame_equal(pl.concat(reader.rows(FileContent(path), columns, options, None)), held)


def test_json_when_a_number_is_beyond_64_bits_then_that_part_stays_text() -> None:
    texts = ['{"a": 1e400, "b": 12345678901234567890123, "c": [0.5]}', '{"a": 1, "b": 2, "c": [1]}']
    table = pyarrow.parquet.read_table(io.BytesIO(write_nested(texts, nested="struct")))
    assert table.column("properties").to_pylist() == [
        {"a": "1e400", "b": "12345678901234567890123", "c": [0.5]},
        {"a": "1", "b": "2", "c": [1.0]},
    ]


def test_json_when_a_key_is_there_twice_then_comparing_refuses_it_by_name(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="properties holds an object that has the key 'k' twice"):
        compare_nested(tmp_path, ["{}"], ['[{"k": 1, "a": 2, "k": 1}]'])
