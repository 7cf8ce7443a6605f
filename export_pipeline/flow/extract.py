"""Rows out of PostgreSQL as a Polars stream: one query, one snapshot, COPY in binary, Arrow batches.

Memory stays flat whatever the number of rows. Every batch is checked and brought to the declared types here, so that
a writer never meets a value that its column cannot hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from psycopg import sql

from export_pipeline.ahead import reading_ahead
from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.cuts import check_cuts
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.mask import masked
from export_pipeline.flow.plan import FittedPlan, Plan, fit_plan, of_another_type
from export_pipeline.flow.query import Selection
from export_pipeline.flow.source import Snapshot, Source, access_settings, session_settings, set_locally
from export_pipeline.model.dataset import OWNED, Column, Kind
from export_pipeline.model.errors import Broken, Rejected, Transient
from export_pipeline.model.format import polars_type

if TYPE_CHECKING:
    import adbc_driver_manager
    import polars as pl

#: Bytes in a batch: 2 MiB keeps memory flat, 8 MiB nearly doubles it (measured; see docs/performance.md).
BATCH_BYTES = 2 << 20
#: So many batches wait for whoever writes: what reads and what writes are never quite as quick as each other.
_BATCHES_AHEAD = 2

#: What PostgreSQL says of a text that is not of the type that it is read as.
_OF_ANOTHER_TYPE = ("invalid input syntax for type", "out of range")

#: Calendars of files end here: year 1 and year 9999, in days and microseconds since 1970.
_DAYS = (-719_162, 2_932_896)
_MICROSECONDS = (-62_135_596_800_000_000, 253_402_300_799_999_999)


@dataclass(frozen=True)
class Rows:
    """A stream of rows of the declared types, to be read once, with about how many there are."""

    schema: pl.Schema
    batches: Iterator[pl.DataFrame]
    estimated: int


@dataclass(frozen=True)
class Opened:
    """Plans whose rows can be read, one plan at a time, as they were at one moment: as they were given, and in `plans`
    as they fit the source."""

    snapshot_at: datetime
    plans: tuple[Plan, ...]
    read: Callable[[Plan], AbstractContextManager[Rows]]


@contextmanager
def open_source(
    engine: Engine,
    plans: Sequence[Plan],
    attempt: Attempt,
    narrowed: Callable[[Plan, Snapshot], Plan] = lambda plan, snapshot: plan,
) -> Iterator[Opened]:
    """The plans' rows, all out of one snapshot of the source. `attempt` counts them, and can stop the queries;
    `narrowed` selects fewer rows by what the snapshot shows. Raises what `fit_plan`, `check_cuts` and `narrowed` raise,
    before any row is read."""
    with engine.source.snapshot() as snapshot, attempt.stopping_with(snapshot.connection.cancel_safe):
        fits = [fit_plan(narrowed(plan, snapshot), snapshot) for plan in plans]
        check_cuts([fit.plan for fit in fits], snapshot)
        fitted = {id(of): fit for plan, fit in zip(plans, fits, strict=True) for of in (plan, fit.plan)}
        yield Opened(
            snapshot.taken_at,
            tuple(fit.plan for fit in fits),
            lambda plan: stream(engine.source, snapshot, fitted[id(plan)], attempt),
        )


@contextmanager
def stream(source: Source, snapshot: Snapshot, fitted: FittedPlan, attempt: Attempt) -> Iterator[Rows]:
    """A fitted plan's rows, in a connection of its own that joins the snapshot.

    The driver's own objects, not its DB-API: that would import half of pyarrow, and pandas where it is installed, for
    0.3 s and 60 MB.
    """
    import adbc_driver_manager

    with ExitStack() as stack:
        with translated_errors(attempt):
            database = stack.enter_context(_database(source))
            connection = stack.enter_context(adbc_driver_manager.AdbcConnection(database))
            connection.set_autocommit(False)
            statement = stack.enter_context(adbc_driver_manager.AdbcStatement(connection))
            stack.enter_context(attempt.stopping_with(statement.cancel))
            for setting in _session(source, snapshot, fitted.plan.selection):
                statement.set_sql_query(setting.as_string(snapshot.connection))
                statement.execute_update()
            statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
            statement.set_sql_query(fitted.query.as_string(snapshot.connection))
            with ThreadPoolExecutor(1, "query") as thread:
                running = thread.submit(statement.execute_query)
                # 0.3 s, in which PostgreSQL joins and sorts.
                import polars  # noqa: F401
                import pyarrow  # noqa: F401

                batches, _ = running.result()
        # Within the statement, which must not be closed while somebody reads from it.
        read = stack.enter_context(reading_ahead(_reader(batches), _BATCHES_AHEAD, statement.cancel))
        selection = fitted.plan.selection
        yield rows_of(
            read,
            selection,
            attempt,
            partial(_property_errors, selection) if selection.properties else translated_errors,
            estimated=fitted.rows_estimated,
            most=fitted.plan.row_limit,
        )


def _database(source: Source) -> adbc_driver_manager.AdbcDatabase:
    import adbc_driver_manager
    import adbc_driver_postgresql

    url = source.url.get_secret_value()
    if source.driver is None:
        return adbc_driver_postgresql.connect(url)
    return adbc_driver_manager.AdbcDatabase(driver=str(source.driver), uri=url)


def _reader(batches: Any) -> Any:
    import pyarrow

    return pyarrow.RecordBatchReader.from_stream(batches)


def rows_of(
    batches: Any,
    selection: Selection,
    attempt: Attempt,
    translated: Callable[[Attempt], AbstractContextManager[None]],
    *,
    estimated: int,
    most: int | None = None,
) -> Rows:
    """Arrow record batches as rows of the declared types, counted and checked batch by batch, with what the dataset
    derives from them, and masked: nobody sees rows before that. `translated` turns the errors of whoever makes the
    batches into ours. Reading raises Rejected where there are more rows than `most`."""
    import polars as pl

    shape = _Shape(selection.read)
    derive = selection.dataset.derive
    schema = {column.name: polars_type(column) for column in selection.columns}

    def read() -> Iterator[pl.DataFrame]:
        remaining, before = iter(batches), 0
        while True:
            attempt.check()
            with translated(attempt):
                batch = next(remaining, None)
            if batch is None:
                return
            found = pl.DataFrame(pl.from_arrow(batch))
            found.columns = [column.name for column in shape.columns]
            frame = shape.apply(found, before)
            before += frame.height
            if most is not None and before > most:
                raise Rejected(f"more than {most:,} rows, which were not there when they were counted; ask again")
            attempt.rows_done += frame.height
            if selection.guarded:
                frame = _owned(frame, selection)
            if derive is not None:
                whole = derive(frame)
                # Not by expressions: there a name may be a pattern.
                frame = pl.DataFrame([whole[column.source_name].alias(column.name) for column in selection.columns])
            if attempt.witness is not None:
                attempt.witness(selection.dataset, selection.columns, frame)
            yield masked(frame, selection.masks) if selection.masks else frame

    return Rows(pl.Schema(schema), read(), estimated)


def _owned(frame: pl.DataFrame, selection: Selection) -> pl.DataFrame:
    """The rows without what tells whose they are. Raises Broken where one is somebody else's: the query should have
    seen to that."""
    if not frame[OWNED].all():
        raise Broken(
            f"the query of {selection.dataset.name} yielded a row of another owner; nothing was delivered. Look at the "
            "owner in the dataset's file"
        )
    return frame.drop(OWNED)


@contextmanager
def translated_errors(attempt: Attempt) -> Iterator[None]:
    """The driver's errors as ours. A query stopped on purpose looks like an I/O error: ask the flag first."""
    import adbc_driver_manager

    try:
        yield
    except (adbc_driver_manager.Error, OSError) as error:
        attempt.check()
        state = getattr(error, "sqlstate", None) or ""
        text = str(error)
        if "[Driver Manager]" in text:
            raise Broken(
                "the driver for PostgreSQL cannot be loaded: see EXPORT_POSTGRES_DRIVER, or install the project anew"
            ) from error
        if state[:2] in ("08", "40", "53") or state[:3] == "57P" or "connect" in text or "EOF" in text:
            raise Transient(
                "the source database cannot be reached or went away; check that it is up and EXPORT_SOURCE_URL"
            ) from error
        if state == "55P03" or "lock timeout" in text:
            raise Transient("a table of the source is locked, perhaps by a migration") from error
        if state == "57014" or "timeout" in text:
            raise Broken(
                "the source database stopped the query; narrow the export, or raise EXPORT_SNAPSHOT_SECONDS"
            ) from error
        raise Broken(f"the source database refused the query (SQLSTATE {state or 'unknown'})") from error


@contextmanager
def _property_errors(selection: Selection, attempt: Attempt) -> Iterator[None]:
    """As `translated_errors`; values that are not of their type are those of properties. In the midst of a stream there
    is only the text to tell by."""
    with translated_errors(attempt):
        try:
            yield
        except OSError as error:
            if not any(words in str(error) for words in _OF_ANOTHER_TYPE):
                raise
            attempt.check()
            raise of_another_type(selection) from error


def _session(source: Source, snapshot: Snapshot, selection: Selection) -> list[sql.Composed]:
    # PostgreSQL expects as many groups as rows of an expression such as the day, and that a row is dear to hand over
    # from process to process; then one process does it all (1.9 s instead of 1.6, of 900,000 rows).
    tuning = {**source.tuning, **({"parallel_tuple_cost": "0.005"} if selection.aggregates else {})}
    return [
        sql.SQL("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY").format(),
        sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot.id)),
        *session_settings(snapshot.connection.info.server_version, source.snapshot_seconds),
        *set_locally({name: sql.Literal(value) for name, value in tuning.items()}),
        *access_settings(selection.scope, selection.owner_id, source.own_role),
    ]


class _Shape:
    """Brings batches to the declared types, and refuses what they cannot hold."""

    def __init__(self, columns: tuple[Column, ...]) -> None:
        import polars as pl

        self.columns = columns
        self.schema = pl.Schema({column.name: polars_type(column) for column in columns})
        self.decimals = [column for column in columns if column.type.kind is Kind.DECIMAL]
        self.calendar = [column for column in columns if column.type.kind in (Kind.DATE, Kind.TIMESTAMP)]

    def apply(self, frame: pl.DataFrame, rows_before: int) -> pl.DataFrame:
        import polars as pl

        # By column and in this thread where Polars can: what it gives to its own threads waits for a core.
        for column in self.calendar:
            if not _on_calendar(frame[column.name], column):
                raise self._refusal(frame, column, _off_calendar(column), rows_before)
        if self.decimals:
            found = frame.select(_too_fine(column).any() for column in self.decimals).row(0)
            for column, wrong in zip(self.decimals, found, strict=True):
                if wrong:
                    raise self._refusal(frame, column, _too_fine(column), rows_before)
        try:
            return pl.DataFrame([frame[name].cast(dtype) for name, dtype in self.schema.items()])
        except pl.exceptions.PolarsError as error:
            raise self._too_long(frame, rows_before) from error

    def _too_long(self, frame: pl.DataFrame, rows_before: int) -> Rejected:
        """What to say of a batch in which a number has more digits than its column can hold."""
        import polars as pl

        for column in self.decimals:
            found = frame.select(
                (pl.col(column.name).cast(self.schema[column.name], strict=False).is_null())
                & pl.col(column.name).is_not_null()
            ).to_series()
            if found.any():
                return Rejected(
                    f"row {rows_before + 1 + (found.arg_max() or 0):,}: {column.name} has more digits than the "
                    f"{column.type.precision} that the dataset declares ({column.type}); declare it wider in the "
                    "dataset's file (38 digits at most), or as text"
                )
        raise Broken("a batch of the source is not of the declared types; this is a defect, please report it")

    def _refusal(self, frame: pl.DataFrame, column: Column, test: pl.Expr, rows_before: int) -> Rejected:
        name = column.name
        row = rows_before + 1 + (frame.select(test.fill_null(False).arg_max()).item() or 0)
        if column in self.decimals:
            return Rejected(
                f"row {row:,}: {name} has more decimals than the {column.type.scale} that the dataset declares, or is "
                "not a number; declare more, or round in the dataset's file"
            )
        return Rejected(
            f"row {row:,}: {name} is infinity or outside the years 1 to 9999, which no file can hold; correct the "
            "row, or cast the column in the dataset's file"
        )


def _too_fine(column: Column) -> pl.Expr:
    """Whether the text of a number has a digit other than zero beyond the declared scale, or is NaN or infinity: a cast
    would round, silently."""
    import polars as pl

    return ~pl.col(column.name).str.contains(rf"^-?[0-9]+(\.[0-9]{{0,{column.type.scale}}}0*)?$")


def _on_calendar(values: pl.Series, column: Column) -> bool:
    import polars as pl

    physical = values.cast(pl.Int64)
    first, last = _calendar(column)
    least, greatest = cast("int | None", physical.min()), cast("int | None", physical.max())
    return least is None or greatest is None or first <= least <= greatest <= last


def _off_calendar(column: Column) -> pl.Expr:
    import polars as pl

    return ~pl.col(column.name).to_physical().is_between(*_calendar(column))


def _calendar(column: Column) -> tuple[int, int]:
    return _DAYS if column.type.kind is Kind.DATE else _MICROSECONDS
