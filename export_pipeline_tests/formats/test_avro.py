"""Avro: its schema, codecs and limits, read by fastavro and by DuckDB's opposite of a spreadsheet, Python."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from export_pipeline.model.dataset import DATE, INTEGER, TEXT, TIMESTAMP, Column, decimal
from export_pipeline.model.errors import Rejected
from export_pipeline_tests.formats import tables


def test_schema_when_written_then_types_are_logical_and_nullable() -> None:
    fields = {
        field["name"]: field["type"] for field in tables.read_avro(tables.write("avro", [])).writer_schema["fields"]
    }
    assert all(kind[0] == "null" and len(kind) == 2 for kind in fields.values())
    assert fields["timestamp"][1] == {"type": "long", "logicalType": "timestamp-micros"}
    assert fields["date"][1] == {"type": "int", "logicalType": "date"}
    assert fields["decimal"][1] == {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 4}
    assert (fields["integer"][1], fields["float"][1], fields["json"][1]) == ("long", "double", "string")


@pytest.mark.parametrize(
    ("compression", "codec"), [("none", "null"), ("gzip", "deflate"), ("snappy", "snappy"), ("zstd", "zstandard")]
)
def test_codec_when_chosen_then_the_file_says_so_and_reads_back(compression: str, codec: str) -> None:
    rows = [("text " * 20, None, number, *[None] * 6) for number in range(5_000)]
    reader = tables.read_avro(tables.write("avro", rows, compression=compression))
    assert reader.codec == codec
    assert [record["integer"] for record in reader] == list(range(5_000))


def test_values_when_extreme_then_exact() -> None:
    columns = (
        Column("whole", INTEGER, "", ""),
        Column("exact", decimal(38, 10), "", ""),
        Column("day", DATE, "", ""),
        Column("moment", TIMESTAMP, "", ""),
        Column("text", TEXT, "", ""),
    )
    rows = [
        (
            2**63 - 1,
            Decimal("9999999999999999999999999999.9999999999"),
            date(1, 1, 1),
            datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
            "",
        ),
        (
            -(2**63),
            Decimal("-9999999999999999999999999999.9999999999"),
            date(9999, 12, 31),
            datetime(1, 1, 1, tzinfo=UTC),
            "\x00 \U0001f468\u200d\U0001f469\u200d\U0001f467",
        ),
        (0, Decimal("-0.0000000001"), date(1899, 12, 31), datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), "x" * 10**6),
    ]
    assert [tuple(record.values()) for record in tables.read_avro(tables.write("avro", rows, columns))] == rows


@pytest.mark.parametrize("name", ["with space", "1st", "naïve", "a-b", ""])
def test_column_when_avro_does_not_allow_its_name_then_refused(name: str) -> None:
    with pytest.raises(Rejected, match="in Avro a name has only letters"):
        tables.write("avro", [], (Column(name, TEXT, "", ""),))
