"""Avro: its schema, codecs, levels and limits, read by fastavro."""

import io
import random
from datetime import UTC, date, datetime
from decimal import Decimal

import fastavro
import pytest
from pydantic import ValidationError

from export_pipeline.flow.compress import with_level
from export_pipeline.formats._avro_blocks import BlockTarget, compressor
from export_pipeline.model.dataset import DATE, INTEGER, TEXT, TIMESTAMP, Column, decimal
from export_pipeline.model.errors import Broken, Rejected
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


#: Rows of words in which the harder levels find more.
_RNG = random.Random(20101117)
_WORDY = [
    (number, " ".join(_RNG.choice(("busy", "no answer", "voicemail", "completed", str(number))) for _ in range(12)))
    for number in range(20_000)
]
_WORDY_COLUMNS = (Column("id", INTEGER, "", ""), Column("words", TEXT, "", ""))


@pytest.mark.parametrize(
    ("compression", "levels"), [("none", [""]), ("snappy", [""]), ("gzip", ["1", "6", "9"]), ("zstd", ["1", "3", "19"])]
)
def test_level_when_higher_then_smaller_and_each_reads_back_whole(compression: str, levels: list[str]) -> None:
    sizes = []
    for level in levels:
        options = {"compression": compression, **({"compression_level": level} if level else {})}
        data = tables.write("avro", _WORDY, _WORDY_COLUMNS, **options)
        assert [tuple(record.values()) for record in tables.read_avro(data)] == _WORDY
        blocks = [block.num_records for block in fastavro.block_reader(io.BytesIO(data))]
        assert (len(blocks) > 1, sum(blocks)) == (True, len(_WORDY))
        sizes.append(len(data))
    assert sizes == sorted(set(sizes), reverse=True)


def test_blocks_when_rows_are_wide_then_of_some_megabytes_at_most() -> None:
    rows = [(number, f"{number} " * 12_500) for number in range(300)]
    data = tables.write("avro", rows, _WORDY_COLUMNS, compression="none")
    assert [tuple(record.values()) for record in tables.read_avro(data)] == rows
    blocks = list(fastavro.block_reader(io.BytesIO(data)))
    assert (len(blocks) > 1, sum(block.num_records for block in blocks)) == (True, 300)
    assert max(len(block.bytes_.getvalue()) for block in blocks) < 5 << 20


@pytest.mark.parametrize(
    ("compression", "asked", "configured", "level"),
    [
        ("gzip", None, None, 6),
        ("gzip", None, 2, 2),
        ("gzip", 9, 2, 9),
        ("zstd", None, None, 3),
        ("zstd", 19, 2, 19),
        ("snappy", None, 2, None),
        ("none", None, 2, None),
    ],
)
def test_level_when_asked_then_that_else_as_configured_else_usual(
    compression: str, asked: int | None, configured: int | None, level: int | None
) -> None:
    options = tables.FORMATS["avro"].options.model_validate({"compression": compression, "compression_level": asked})
    assert with_level(options, configured).model_dump()["compression_level"] == level


@pytest.mark.parametrize(
    ("compression", "level", "told"),
    [
        ("gzip", "10", "compression_level=10: gzip has the levels 1 to 9"),
        ("zstd", "20", "compression_level=20: zstd has the levels 1 to 19"),
        ("snappy", "1", "compression_level=1: snappy has no levels"),
        ("none", "1", "compression_level=1 is for a compression, and none is asked for; choose one"),
    ],
)
def test_level_when_the_codec_has_none_such_then_refused(compression: str, level: str, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        tables.write("avro", [], compression=compression, compression_level=level)


@pytest.mark.parametrize("piece", [1, 7, 5_000])
def test_blocks_when_they_come_in_pieces_then_the_same_file(piece: int) -> None:
    plain = tables.write("avro", _WORDY[:500], _WORDY_COLUMNS, compression="none")
    target = tables.OneWay()
    blocks = BlockTarget(target, "deflate", compressor("deflate", 6))  # type: ignore[arg-type]
    for start in range(0, len(plain), piece):
        assert blocks.write(plain[start : start + piece]) == len(plain[start : start + piece])
    blocks.end()
    reader = tables.read_avro(target.data.getvalue())
    assert (reader.codec, [tuple(record.values()) for record in reader]) == ("deflate", _WORDY[:500])


@pytest.mark.parametrize("kept", [0, 10, -1])
def test_blocks_when_the_last_is_cut_then_broken(kept: int) -> None:
    plain = tables.write("avro", _WORDY[:10], _WORDY_COLUMNS, compression="none")
    blocks = BlockTarget(tables.OneWay(), "null", compressor("null", None))  # type: ignore[arg-type]
    blocks.write(plain[:kept])
    with pytest.raises(Broken, match="its last block is not whole"):
        blocks.end()


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
