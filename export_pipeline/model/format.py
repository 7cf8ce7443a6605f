"""What a file format declares about itself, so that a plan can refuse the impossible before any query."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from export_pipeline.model.archive import Archiver
from export_pipeline.model.dataset import Column, Kind
from export_pipeline.model.report import Report
from export_pipeline.model.verification import Reader

if TYPE_CHECKING:
    import polars as pl


class Compression(StrEnum):
    """How a file is compressed as a whole: by what program people unpack it with."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"
    SNAPPY = "snappy"
    LZ4 = "lz4"


#: The levels that a compression has; Snappy has none.
LEVELS: Mapping[Compression, range] = {
    Compression.GZIP: range(1, 10),
    Compression.ZSTD: range(1, 20),
    Compression.LZ4: range(1, 10),
}


class Options(BaseModel):
    """Base of each format's options: unknown names are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_file_rows: int | None = Field(
        None, ge=1, description="Split into numbered files of at most so many rows. Default: one file."
    )
    max_file_bytes: int | None = Field(
        None,
        ge=65_536,
        description="Split into numbered files of at most so many bytes. What is compressed, or binary, is measured "
        "batch by batch before it is written, which takes its time once more; such files are 85 to 98% full. A single "
        "row that is longer has a file of its own. Default: one file.",
    )


def check_level(compression: Compression, level: int | None) -> None:
    """Raises ValueError for a level that the compression does not have; None is whichever is usual."""
    levels = LEVELS.get(compression)
    if level is None or (levels is not None and level in levels):
        return
    if compression is Compression.NONE:
        raise ValueError(f"compression_level={level} is for a compression, and none is asked for; choose one")
    known = f"has the levels {levels[0]} to {levels[-1]}" if levels else "has no levels"
    raise ValueError(f"compression_level={level}: {compression} {known}")


class TextOptions(Options):
    """Base of the options of formats that are text, and so can be compressed as a whole."""

    compression: Compression = Field(
        Compression.NONE,
        description="How the finished file is compressed: `gzip` (.gz), `zstd` (.zst), `lz4` (.lz4) or `snappy` (.sz, "
        "framed). Browsers save it as it is.",
    )
    compression_level: int | None = Field(
        None,
        description="1 (quick) to 9 for gzip and lz4, to 19 (small) for zstd. Default: EXPORT_COMPRESSION_LEVEL; "
        "without that, 6 for gzip, 3 for zstd, 1 for lz4.",
    )

    @model_validator(mode="after")
    def _level_exists(self) -> Self:
        check_level(self.compression, self.compression_level)
        return self


@dataclass(frozen=True)
class FileContext:
    """What a writer may say in the file about where it comes from: no personal data. `filters` are what the rows were
    chosen by, `report` holds the figures and charts that the columns suffice for, `branding` is the operator's folder
    with logo, colours and fonts for formats that have a look; `part` is which of several files it is, from 1."""

    export_id: str
    dataset: str
    title: str
    columns: tuple[Column, ...]
    snapshot_at: datetime
    filters: Mapping[str, str] = field(default_factory=dict)
    report: Report = field(default_factory=Report)
    branding: Path | None = None
    part: int = 0


def polars_type(column: Column) -> pl.DataType:
    """The type in which the column's values come to a writer: String also for UUIDs and JSON."""
    import polars as pl

    match column.type.kind:
        case Kind.DECIMAL:
            return pl.Decimal(column.type.precision, column.type.scale)
        case Kind.TIMESTAMP:
            return pl.Datetime("us", "UTC")
        case kind:
            simple = {Kind.INTEGER: pl.Int64, Kind.FLOAT: pl.Float64, Kind.BOOLEAN: pl.Boolean, Kind.DATE: pl.Date}
            return simple.get(kind, pl.String)()


class Write(Protocol):
    """Writes all rows of `frame` to `target` (opened for binary writing, not seekable) and returns how many it wrote.

    The frame is streamed: memory must not grow with its rows. Its columns are `context.columns`, in order, with the
    types that `polars_type` tells.
    Raises `Rejected` where a value cannot be held exactly, naming the column (and the row where it can be known).
    """

    def __call__(self, frame: pl.LazyFrame, target: BinaryIO, context: FileContext, options: Any) -> int: ...


class WriteMany(Protocol):
    """Like `Write`, of several datasets into one file, one after the other. Returns how many rows of each it wrote."""

    def __call__(
        self, parts: Sequence[tuple[pl.LazyFrame, FileContext]], target: BinaryIO, options: Any
    ) -> Sequence[int]: ...


@dataclass(frozen=True)
class Format:
    """One file format. `for_people` tells from the options whether the file is meant to be opened by people, to whom
    the record limit applies; `reader` reads its files again, where that can be done.

    It writes the rows of one dataset (`write`), perhaps those of several, too (`write_many`), or holds files of other
    formats (`archiver`).
    """

    name: str
    title: str
    description: str
    extension: str
    media_type: str
    options: type[Options]
    for_people: Callable[[Any], bool]
    write: Write | None = None
    write_many: WriteMany | None = None
    archiver: Archiver | None = None
    reader: Reader | None = None

    def __post_init__(self) -> None:
        if (self.write is None) == (self.archiver is None):
            raise ValueError(f"the format {self.name} declares either how rows are written or how files are held")
