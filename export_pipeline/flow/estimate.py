"""What an export would be like, before it is made: how many rows, how large in each format, how long, and what to mind.

Rows are counted where that is quick, else they are PostgreSQL's estimate. Sizes and times are those of recent exports
of the same dataset and columns; where there are none, a guess: `_GUESSED_BYTES` by kind of column, and
`_GUESSED_RATE`. Which of them, is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import psycopg
from psycopg import sql

from export_pipeline.flow.cuts import cuts_of, names_of
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.order import closed
from export_pipeline.flow.plan import Order, Plan, fit_plan, parse_options, told_by_the_source
from export_pipeline.flow.policies import plain_columns
from export_pipeline.flow.request import admit
from export_pipeline.flow.source import access_settings
from export_pipeline.ledger.history import Delivery
from export_pipeline.model.access import Sensitivity
from export_pipeline.model.dataset import Kind
from export_pipeline.model.errors import Broken
from export_pipeline.model.job import ExportRequest
from export_pipeline.model.masking import leaves_redacted

#: Bytes that a value and its separator take as text, where nothing better is known.
_GUESSED_BYTES = {
    Kind.TEXT: 24,
    Kind.UUID: 37,
    Kind.INTEGER: 6,
    Kind.DECIMAL: 8,
    Kind.FLOAT: 12,
    Kind.BOOLEAN: 6,
    Kind.DATE: 11,
    Kind.TIMESTAMP: 28,
    Kind.JSON: 200,
}
#: Rows in a second, and the seconds that an export without rows takes, where nothing better is known.
_GUESSED_RATE = 100_000
_GUESSED_START_SECONDS = 1.0
#: Fewer rows say nothing about how quick the next export is.
_TELLING_ROWS = 1_000
#: The longest that counting may take (milliseconds).
_COUNTING_MILLISECONDS = 1_000
_SHEET_ROWS = 1_048_575
#: From so many seconds on an export counts as long.
_LONG_SECONDS = 300


class Basis(StrEnum):
    """Where a number comes from."""

    COUNTED = "counted"
    PLANNED = "estimated by PostgreSQL"
    RECENT = "recent exports"
    GUESSED = "guessed"


@dataclass(frozen=True)
class FormatEstimate:
    """How large a file of a format would be, and how long it would take (seconds): with the rows that it would have,
    which are fewer where it is cut off."""

    format: str
    bytes: int
    bytes_basis: Basis
    seconds: float
    seconds_basis: Basis


@dataclass(frozen=True)
class PartEstimate:
    """What one dataset of a request comes to: in the formats asked for first, then in the others."""

    dataset: str
    rows: int
    rows_basis: Basis
    asked: str
    formats: tuple[FormatEstimate, ...]


@dataclass(frozen=True)
class Estimate:
    """What a request comes to, and what to mind, in sentences."""

    parts: tuple[PartEstimate, ...]
    warnings: tuple[str, ...]

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(part.rows for part in self.parts)

    @property
    def bytes(self) -> int:
        """The size in the formats that were asked for."""
        return sum(part.formats[0].bytes for part in self.parts)

    @property
    def seconds(self) -> float:
        """How long it takes in the formats that were asked for."""
        return sum(part.formats[0].seconds for part in self.parts)


def estimate_export(engine: Engine, request: ExportRequest) -> Estimate:
    """What a request comes to; rows are counted where that is quick; audited. Raises Rejected, Forbidden or NotFound as
    filing it would, though not for too many rows."""
    admitted = admit(engine, request)
    found = estimate_order(engine, closed(admitted.order), counting=True)
    detail = {"rows": [part.rows for part in found.parts], "filters": sorted(request.filters)}
    detail |= {"conditions": len(request.conditions)}
    engine.audit.estimate(
        actor=admitted.principal.email, dataset=request.dataset, reason=admitted.reason, detail=detail
    )
    return found


def estimate_order(engine: Engine, order: Order, *, counting: bool) -> Estimate:
    """What an order comes to whose plans were authorized; without `counting` from PostgreSQL's estimate alone."""
    parts, warnings = [], []
    with engine.source.snapshot() as snapshot:
        for plan in order.plans:
            # Too many rows for people are a warning here, no refusal.
            rows, basis = fit_plan(replace(plan, row_limit=None), snapshot).rows_estimated, Basis.PLANNED
            if counting and (counted := _counted(engine, plan)) is not None:
                rows, basis = counted, Basis.COUNTED
            part = PartEstimate(
                dataset=plan.selection.dataset.name,
                rows=rows,
                rows_basis=basis,
                asked=plan.format.name,
                formats=tuple(_formats(engine, plan, rows)),
            )
            parts.append(part)
            warnings += _warnings(engine, plan, part)
    warnings += _together(order, parts)
    return Estimate(tuple(parts), tuple(dict.fromkeys(warnings)))


def _counted(engine: Engine, plan: Plan) -> int | None:
    """How many rows there are, or None where counting them takes too long. Raises Rejected where a value is not of the
    type that it was asked as."""
    limit = sql.SQL("") if plan.selection.limit is None else sql.SQL("LIMIT {}").format(plan.selection.limit)
    query = sql.SQL("SELECT count(*) FROM (SELECT 1 {} {}) AS counted").format(plan.selection.rows(), limit)
    try:
        # A connection of its own: what is stopped takes its transaction with it.
        with engine.source.connect() as connection, told_by_the_source(plan), connection.transaction():
            connection.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(_COUNTING_MILLISECONDS)))
            for setting in access_settings(plan.selection.scope, plan.selection.owner_id, engine.source.own_role):
                connection.execute(setting)
            found = connection.execute(query).fetchone()
    except Broken as error:
        if isinstance(error.__cause__, psycopg.errors.QueryCanceled):
            return None
        raise
    assert found is not None
    return int(found[0])


def _formats(engine: Engine, plan: Plan, rows: int) -> list[FormatEstimate]:
    """The plan's format, then all others that write rows."""
    recent = engine.history.deliveries(plan.selection.dataset.declared_name, plan.request.columns)
    compression = plan.request.options.get("compression")
    others = [name for name, form in engine.formats.items() if form.write is not None and name != plan.format.name]
    guess = sum(_GUESSED_BYTES[column.type.kind] for column in plan.columns)
    found = []
    for name in (plan.format.name, *others):
        # Of other formats than the one asked for, files as they usually are.
        wanted = compression if name == plan.format.name else None
        alike = [item for item in recent if item.format == name and item.compression == wanted]
        found.append(_format(name, alike, _written(engine, plan, name, rows), guess))
    return found


def _written(engine: Engine, plan: Plan, name: str, rows: int) -> int:
    """How many of the rows a file of that format would have: where the request has it cut off, those that may be."""
    form, most = engine.format(name), plan.row_limit
    if name != plan.format.name:
        most = engine.settings.max_records if form.for_people(parse_options(engine, form, {})) else None
    return rows if most is None or not plan.request.truncate else min(rows, most)


def _format(name: str, alike: Sequence[Delivery], rows: int, guess: int) -> FormatEstimate:
    total = sum(item.rows for item in alike)
    size, size_basis = (rows * guess, Basis.GUESSED)
    if total:
        size, size_basis = round(rows * sum(item.bytes for item in alike) / total), Basis.RECENT
    start = min((item.seconds for item in alike), default=_GUESSED_START_SECONDS)
    telling = [item for item in alike if item.rows >= _TELLING_ROWS]
    busy = sum(item.seconds for item in telling) - start * len(telling)
    if telling and (busy > 0 or rows <= max(item.rows for item in telling)):
        rate = max(busy, 0.0) / sum(item.rows for item in telling)
        return FormatEstimate(name, size, size_basis, start + rows * rate, Basis.RECENT)
    basis = Basis.RECENT if alike and rows < _TELLING_ROWS else Basis.GUESSED
    return FormatEstimate(name, size, size_basis, start + rows / _GUESSED_RATE, basis)


def _warnings(engine: Engine, plan: Plan, part: PartEstimate) -> list[str]:
    name, about = part.dataset, "" if part.rows_basis is Basis.COUNTED else "about "
    told = []
    if part.rows == 0:
        told.append(f"{name}: there is no row; look at the filters and the range of dates")
    if plan.row_limit is not None and part.rows > plan.row_limit:
        told.append(
            f"{name}: {about}{part.rows:,} rows are more than EXPORT_MAX_RECORDS ({plan.row_limit:,}) for a file that "
            f"people open ({part.asked}): it would be {_too_many(plan)}"
        )
    if part.rows > _SHEET_ROWS and plan.format.for_people(plan.options):
        told.append(f"{name}: Excel opens {_SHEET_ROWS:,} rows of a sheet; {about}{part.rows:,} are more")
    plain = plain_columns(plan.selection)
    personal = [column.name for column in plain if column.sensitivity is Sensitivity.PERSONAL]
    if personal:
        told.append(f"{name}: personal data leaves in {', '.join(personal)}")
    texts = [column.name for column in plain if leaves_redacted(column)]
    if texts:
        told.append(f"{name}: free text may hold anything that people said or wrote: {', '.join(texts)}")
    if plan.request.since:
        told.append(f"{name}: these are all rows; how many of them are new is known once they are read")
    seconds = part.formats[0].seconds
    if seconds > _LONG_SECONDS:
        told.append(f"{name}: it would take about {seconds / 60:,.0f} minutes")
    if seconds > engine.settings.snapshot_seconds:
        told.append(
            f"{name}: that is longer than EXPORT_SNAPSHOT_SECONDS ({engine.settings.snapshot_seconds:,}) allows"
        )
    return told


def _together(order: Order, parts: Sequence[PartEstimate]) -> list[str]:
    """What to say of cuts of one dataset that have too many rows together."""
    by_name = {part.dataset: part for part in parts}
    told = []
    for cuts in cuts_of(order.plans):
        found = [by_name[plan.selection.dataset.name] for plan in cuts]
        rows, most = sum(part.rows for part in found), cuts[0].row_limit
        about = "" if all(part.rows_basis is Basis.COUNTED for part in found) else "about "
        if most is not None and rows > most:
            told.append(
                f"{names_of(cuts)} have {about}{rows:,} rows together, more than EXPORT_MAX_RECORDS ({most:,}) for a "
                f"file that people open: it would be {_too_many(cuts[0])}"
            )
    return told


def _too_many(plan: Plan) -> str:
    return "cut off there" if plan.request.truncate else "refused; narrow it or take a format for machines"
