"""What a file would begin with: the first rows, authorized, read and written as an export does it, and kept nowhere.

The rows go through the same order, plan, snapshot and format; only the limit differs. Files are made in a temporary
folder, read again as their receiver would, and are gone before the answer is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.content import FileContent
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.extract import open_source
from export_pipeline.flow.memory import limit_memory
from export_pipeline.flow.order import closed
from export_pipeline.flow.plan import Order, Plan
from export_pipeline.flow.publish import member_name
from export_pipeline.flow.request import admit
from export_pipeline.flow.write import CountingWriter, context_of, frame_of, write_rows
from export_pipeline.ledger.rows import asked
from export_pipeline.model.dataset import Column
from export_pipeline.model.errors import Cancelled, Rejected
from export_pipeline.model.format import Compression, TextOptions
from export_pipeline.model.job import ExportRequest
from export_pipeline.staging import staging_folder

if TYPE_CHECKING:
    import polars as pl

#: How many rows are shown where nobody says, and at most.
ROWS = 20
MOST_ROWS = 1000
#: The longest that anybody waits for a preview (seconds).
_PATIENCE_SECONDS = 30
_ID = "preview"


@dataclass(frozen=True)
class Part:
    """How one file of rows begins. `text` is the file itself, where it is one of text (before it is compressed as a
    whole); else None. `rows` are the values that a reader of the file shows: None, or Python's types."""

    name: str
    dataset: str
    format: str
    columns: tuple[Column, ...]
    left_out: tuple[Column, ...]
    text: str | None
    rows: tuple[tuple[Any, ...], ...]


def preview_export(engine: Engine, request: ExportRequest, *, rows: int = ROWS) -> tuple[Part, ...]:
    """How the files of a request would begin, at most `rows` rows of each; audited. Raises Rejected, Forbidden or
    NotFound as filing it would, though not for too many rows; Rejected, too, where it takes too long."""
    if not 1 <= rows <= MOST_ROWS:
        raise Rejected(f"rows={rows} is not how many rows to show: 1 to {MOST_ROWS:,}")
    if request.since:
        raise Rejected("which rows are new is known once all are read; leave out --since, and see the first of all")
    limit_memory()
    admitted = admit(engine, request)
    order = closed(admitted.order)
    attempt = Attempt(_ID, 1)
    plans = [_begun(plan, rows) for plan in order.plans]
    with _patient(attempt), open_source(engine, plans, attempt) as opened:
        parts = []
        for plan in opened.plans:
            with opened.read(plan) as found:
                parts.append(_part(engine, order, plan, found.schema, list(found.batches), opened.snapshot_at))
    detail = asked(request, admitted.names) | {"rows": [len(part.rows) for part in parts]}
    engine.audit.preview(actor=admitted.principal.email, dataset=request.dataset, reason=admitted.reason, detail=detail)
    return tuple(parts)


def _begun(plan: Plan, rows: int) -> Plan:
    """The plan of the first rows alone, as one file that is not compressed as a whole: that says nothing to people."""
    whole: dict[str, object] = {"max_file_rows": None, "max_file_bytes": None}
    if isinstance(plan.options, TextOptions):
        whole |= {"compression": Compression.NONE, "compression_level": None}
    limit = min(plan.selection.limit or rows, rows)
    return replace(
        plan,
        selection=replace(plan.selection, limit=limit),
        options=plan.options.model_copy(update=whole),
        row_limit=None,
    )


def _part(  # noqa: PLR0917
    engine: Engine, order: Order, plan: Plan, schema: pl.Schema, batches: list[pl.DataFrame], snapshot_at: Any
) -> Part:
    context = context_of(engine, _ID, plan, snapshot_at)
    text, show = None, None
    with staging_folder() as folder:
        path = folder / "file"
        if plan.format.reader is None:
            # Nobody reads such a file but people: its rows are those that went in.
            frame = schema.to_frame().vstack(frame_of(schema, iter(batches), None).collect())
        else:
            with path.open("wb") as target:
                writer = CountingWriter(cast(BinaryIO, target), Attempt(_ID, 1))
                write_rows(writer, schema, iter(batches), plan, context)
            frame = _read(plan, path)
            show = plan.format.reader.show
            if isinstance(plan.options, TextOptions):
                text = path.read_bytes().decode("utf-8")
    return Part(
        name=member_name(order, plan),
        dataset=plan.selection.dataset.name,
        format=plan.format.name,
        columns=plan.columns,
        left_out=plan.selection.left_out,
        text=text,
        rows=tuple(
            tuple(map(show, plan.columns, values)) if show is not None else values for values in frame.iter_rows()
        ),
    )


def _read(plan: Plan, path: Path) -> pl.DataFrame:
    import polars as pl

    assert plan.format.reader is not None
    batches = list(plan.format.reader.rows(FileContent(path), plan.columns, plan.options, None))
    return pl.concat(batches) if batches else pl.DataFrame()


@contextmanager
def _patient(attempt: Attempt) -> Iterator[None]:
    """Ends the queries where nobody would wait any longer. Raises Rejected then."""
    timer = Timer(_PATIENCE_SECONDS, attempt.stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Cancelled as error:
        raise Rejected(
            f"the first rows were not there within {_PATIENCE_SECONDS} s; narrow them with a filter, or order by what "
            "the source has an index for"
        ) from error
    finally:
        timer.cancel()
