"""What a file format declares about itself, so that a plan can refuse the impossible before any query."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from pydantic import BaseModel, ConfigDict

from export_pipeline.model.dataset import Column
from export_pipeline.model.report import Report

if TYPE_CHECKING:
    import polars as pl


class Options(BaseModel):
    """Base of each format's options: unknown names are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class FileContext:
    """What a writer may say in the file about where it comes from: no personal data. `filters` are what the rows were
    chosen by, `report` holds the figures and charts that the columns suffice for."""

    export_id: str
    dataset: str
    title: str
    columns: tuple[Column, ...]
    snapshot_at: datetime
    filters: Mapping[str, str] = field(default_factory=dict)
    report: Report = field(default_factory=Report)


class Write(Protocol):
    """Writes all rows of `frame` to `target` (opened for binary writing, not seekable) and returns how many it wrote.

    The frame is streamed: memory must not grow with its rows. Its columns are `context.columns`, in order, with the
    Polars types TEXT/UUID/JSON → String, INTEGER → Int64, DECIMAL → Decimal(precision, scale), FLOAT → Float64,
    BOOLEAN → Boolean, DATE → Date, TIMESTAMP → Datetime("us", "UTC").
    Raises `Rejected` where a value cannot be held exactly, naming the column (and the row where it can be known).
    """

    def __call__(self, frame: pl.LazyFrame, target: BinaryIO, context: FileContext, options: Any) -> int: ...


@dataclass(frozen=True)
class Format:
    """One file format. `for_people` tells from the options whether the file is meant to be opened by people, to whom
    the record limit applies."""

    name: str
    title: str
    description: str
    extension: str
    media_type: str
    options: type[Options]
    write: Write
    for_people: Callable[[Any], bool]
