"""Avro: object container files with their schema inside, in compressed blocks; for streams and data warehouses.

Each field is a union with null. Timestamps are `timestamp-micros`, dates `date`, decimals `decimal` on bytes; UUIDs and
JSON values are strings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Self, cast

from pydantic import Field, model_validator

from export_pipeline.formats._avro_blocks import BlockTarget, compressor
from export_pipeline.formats._blocks import Blocks
from export_pipeline.formats._sink import surfacing
from export_pipeline.model.dataset import Column
from export_pipeline.model.errors import Broken, Rejected
from export_pipeline.model.format import Compression, FileContext, Format, Options, check_level, polars_type
from export_pipeline.model.verification import Content, Reader, Verify

if TYPE_CHECKING:
    import polars as pl

#: Avro's own rule for the names of fields.
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
#: The most rows of a block, and the most bytes of rows that are gathered for one.
_BATCH_ROWS = 16_384
_BATCH_BYTES = 4 << 20
#: Avro's own words for the compressions.
_CODECS = {"zstd": "zstandard", "snappy": "snappy", "gzip": "deflate", "none": "null"}


class AvroOptions(Options):
    """What can be chosen for an Avro file."""

    compression: Literal["zstd", "snappy", "gzip", "none"] = Field(
        "snappy",
        description="The codec of its blocks: `snappy`, `zstd` (Avro's `zstandard`), `gzip` (Avro's `deflate`) or "
        "`none` (`null`). Every reader knows gzip and none, nearly every one snappy.",
    )
    compression_level: int | None = Field(
        None,
        description="1 (quick) to 9 for gzip, to 19 (small) for zstd; the others have none. Default: "
        "EXPORT_COMPRESSION_LEVEL; without that, 6 for gzip, 3 for zstd.",
    )

    @model_validator(mode="after")
    def _level_exists(self) -> Self:
        check_level(Compression(self.compression), self.compression_level)
        return self


def write(frame: pl.LazyFrame, target: BinaryIO, context: FileContext, options: AvroOptions) -> int:
    """Writes the frame as Avro; see `Write`. Raises Rejected for a column whose name Avro does not allow."""
    import polars as pl
    from polars_avro import AvroWriter

    for column in context.columns:
        if not _NAME.match(column.name):
            raise Rejected(
                f"the column {column.name!r}: in Avro a name has only letters of English, digits and underscores, and "
                "does not begin with a digit; name it otherwise in the dataset's file, or choose another format"
            )
    schema = pl.Schema({column.name: polars_type(column) for column in context.columns})
    codec = _CODECS[options.compression]
    blocks = Blocks(_BATCH_ROWS, _BATCH_BYTES)
    written, sink = 0, BlockTarget(target, codec, compressor(codec, options.compression_level))

    def put(batch: pl.DataFrame) -> None:
        nonlocal written
        for rows in blocks.put(batch):
            writer.write(rows)
        written += batch.height

    with surfacing(sink):
        writer = AvroWriter(cast(BinaryIO, sink), schema=schema, codec=None)
        frame.sink_batches(put, maintain_order=True, engine="streaming")
        for rows in blocks.rest():
            writer.write(rows)
        writer.close()
        sink.end()
    return written


def read(
    content: Content, columns: tuple[Column, ...], options: AvroOptions, limit: int | None
) -> Iterator[pl.DataFrame]:
    """The file's rows. Raises Broken where it is damaged or a column is not there."""
    import fastavro
    import polars as pl

    names = [column.name for column in columns]
    schema = {column.name: polars_type(column) for column in columns}
    left = limit
    with content.file() as path, path.open("rb") as file:
        try:
            for block in fastavro.block_reader(file):
                records: Iterator[Any] = islice(block, left)
                if rows := [[record[name] for name in names] for record in records]:
                    yield pl.DataFrame(rows, schema=schema, orient="row")
                if left is not None:
                    left -= len(rows)
                    if left <= 0:
                        return
        except Exception as error:  # each codec's library has errors of its own
            raise Broken(f"the file cannot be read back ({type(error).__name__})") from error


def count(content: Content, columns: tuple[Column, ...], options: AvroOptions) -> int:
    """How many rows the file's blocks say they have."""
    import fastavro

    with content.file() as path, path.open("rb") as file:
        try:
            return sum(block.num_records for block in fastavro.block_reader(file))
        except Exception as error:
            raise Broken(f"the file cannot be read back ({type(error).__name__})") from error


FORMAT = Format(
    name="avro",
    title="Avro",
    description="Rows with their schema in one file, in compressed blocks; for streams and data warehouses.",
    extension="avro",
    media_type="application/vnd.apache.avro",
    options=AvroOptions,
    write=write,
    for_people=lambda options: False,
    # Measured: reading all of a million rows takes four times as long as writing them.
    reader=Reader(rows=read, count=count, usual=Verify.SAMPLE),
)
