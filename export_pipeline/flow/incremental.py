"""Incremental exports: only what is new or changed since the last completed export of the same series, and which rows
were deleted. How new rows are told is in `window.py`; how far a series has come, in the ledger.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import sql

from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.dates import DATE_RANGE
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.plan import Order, Plan
from export_pipeline.flow.query import LIMIT, Selection
from export_pipeline.flow.source import Connection, Snapshot, translated_errors
from export_pipeline.flow.window import Window, moment_of, window_between
from export_pipeline.flow.write import CountingWriter
from export_pipeline.model.access import Scope
from export_pipeline.model.dataset import Column, Cursor, Deletions
from export_pipeline.model.destination import Destination
from export_pipeline.model.errors import Broken, Rejected
from export_pipeline.model.job import ExportFile, ExportJob, ExportRequest

_log = logging.getLogger(__name__)

LAST = "last"
START = "start"
_MEDIA_TYPE = "application/x-ndjson"
#: A transaction that has been open for so long is told: it holds rows back.
_LONG = timedelta(minutes=5)
_KEYS_AT_ONCE = 10_000
#: What the list calls the moment of a deletion.
_DELETED_AT = "deleted_at"


def check_since(engine: Engine, request: ExportRequest, datasets: Sequence[str]) -> None:
    """Raises Rejected where what is new or changed is asked for and cannot be told."""
    if not request.since:
        return
    if request.since not in (LAST, START):
        raise Rejected(f"since={request.since!r} is neither {LAST} (what is new or changed) nor {START} (all, anew)")
    able = ", ".join(sorted(name for name, dataset in engine.datasets.items() if dataset.cursor))
    if len(datasets) > 1 or engine.format(request.format).archiver is not None:
        raise Rejected(f"--since goes with one dataset in one file; ask for them one by one, of: {able}")
    if engine.dataset(datasets[0]).cursor is None:
        raise Rejected(
            f"what is new in {datasets[0]} cannot be told: it has no cursor (its rows are put together from many); "
            f"these have one: {able}"
        )
    if request.recurring:
        raise Rejected("--since reads the source; recurring exports are made from extracts, which hold no cursor")
    if request.truncate:
        raise Rejected("--since and --truncate exclude each other: what is cut off would never be delivered")
    for name, why in _NOT_WITH.items():
        if name in request.filters:
            raise Rejected(f"--since and the filter {name} exclude each other: {why}")


_NOT_WITH = {
    LIMIT: "what is left out would never be delivered",
    "ids": "ask for those rows without --since",
    DATE_RANGE: "its days move, and rows that they come to later would never be delivered; take date_from and date_to",
}


def series_of(job: ExportJob, plan: Plan) -> str:
    """What the exports of a series have in common, as a SHA-256 in hexadecimal: whoever asks for something else, or may
    have other rows or columns than before, begins a series of their own, with all rows."""
    request, selection = job.request, plan.selection
    common: dict[str, Any] = {
        "requester": job.requester_id,
        "template": request.template_id,
        "dataset": selection.dataset.name,
        "filters": dict(request.filters),
        "conditions": sorted(request.conditions),
        "columns": [list(request.columns), [column.name for column in plan.columns]],
        "contact_info": request.contact_info,
        "masks": dict(request.masks),
        "recipient": request.recipient,
        "format": request.format,
        "destination": request.destination,
        "scope": [selection.scope, selection.owner_id],
    }
    # Only where there are some: without any, a series stays the one that it was in earlier versions.
    if selection.masks:
        common["masked"] = sorted([mask.column.name, mask.policy, mask.length, mask.key_id] for mask in selection.masks)
    return hashlib.sha256(json.dumps(common, sort_keys=True).encode()).hexdigest()


class Increment:
    """One attempt at the next export of a series. It joins the series when it is made; raises Rejected while another
    export of the series is running, Superseded."""

    def __init__(self, engine: Engine, job: ExportJob, order: Order) -> None:
        self._engine = engine
        self._job = job
        [self._plan] = order.plans
        deletions = _cursor(self._plan).deletions
        key = _key_column(self._plan, deletions) if deletions is not None else None
        if key is not None and key.name == _DELETED_AT:
            raise Rejected(
                f"{key.source_name} cannot be called {_DELETED_AT}, as the list of deleted rows has that too"
            )
        self._previous = engine.watermarks.join(job.id, job.attempt, series_of(job, self._plan))
        self._snapshot: Snapshot | None = None
        self._window: Window | None = None
        self._deletions: dict[str, Any] | None = None

    def narrowed(self, plan: Plan, snapshot: Snapshot) -> Plan:
        """The plan with the rows alone that the snapshot shows as new, whose end is recorded as the watermark. Raises
        Rejected where the source is not what it was at the last export."""
        at = moment_of(snapshot.connection)
        previous = self._previous if self._job.request.since == LAST else None
        self._window = window_between(at, (previous.database, previous.up_to) if previous else None)
        self._snapshot = snapshot
        self._engine.watermarks.record(self._job.id, self._job.attempt, database=at.database, up_to=at.xmin)
        if at.oldest is not None and (open_for := datetime.now(UTC) - at.oldest) > _LONG:
            _log.warning(
                "a transaction of the source has been open for %d minutes: what was committed since it began comes "
                "with a later export of the series",
                open_for.total_seconds() // 60,
            )
        return narrow(plan, self._window)

    def list_deletions(self, destination: Destination, key: str, attempt: Attempt) -> tuple[ExportFile, ...]:
        """Writes the keys of rows deleted within the window beside the file under the key, as JSON Lines, where the
        source tells of them. Nothing for the first export of a series. Raises Transient, Broken."""
        window, snapshot, deletions = self._window, self._snapshot, _cursor(self._plan).deletions
        assert window is not None and snapshot is not None
        self._deletions = {"listed": False, "reason": _untold(self._plan, window, deletions, snapshot.connection)}
        column = _key_column(self._plan, deletions) if deletions is not None else None
        if deletions is None or column is None or self._deletions["reason"]:
            return ()
        folder, _, name = key.rpartition("/")
        beside = f"{folder}/{name.partition('.')[0]}_deleted.jsonl"
        count = 0
        with (
            destination.open(beside, media_type=_MEDIA_TYPE, filename=beside.rpartition("/")[2]) as target,
            translated_errors(),
            snapshot.connection.cursor("deletions") as cursor,
        ):
            writer = CountingWriter(target, Attempt(self._job.id, self._job.attempt))
            cursor.execute(_deleted(deletions, self._plan.selection, window))
            while keys := cursor.fetchmany(_KEYS_AT_ONCE):
                attempt.check()
                _witness(attempt, self._plan, column, [str(found) for found, _ in keys])
                lines = (
                    json.dumps({column.name: str(found), _DELETED_AT: at.isoformat()}) + "\n" for found, at in keys
                )
                writer.write("".join(lines).encode())
                count += len(keys)
        destination.confirm(beside, bytes=writer.bytes, sha256=writer.sha256)
        file = ExportFile(
            key=beside,
            url=destination.address(beside),
            bytes=writer.bytes,
            sha256=writer.sha256,
            rows=0,
            media_type=_MEDIA_TYPE,
            deletions=count,
        )
        self._deletions = {
            "listed": True,
            "name": beside.rpartition("/")[2],
            "keys": count,
            "bytes": file.bytes,
            "sha256": file.sha256,
        }
        return (file,)

    def told(self) -> dict[str, Any]:
        """What the manifest says about it. `since` is the export that it follows; None: it holds all rows."""
        window = self._window
        assert window is not None
        previous = self._previous if window.since is not None else None
        return {
            "increment": {
                "since": previous.export_id if previous else None,
                "transactions": [window.since, window.at.xmin],
                "held_back_since": window.at.oldest.astimezone(UTC).isoformat() if window.at.oldest else None,
                "deletions": self._deletions,
            }
        }


def narrow(plan: Plan, window: Window) -> Plan:
    """The plan with the rows alone that belong to the window."""
    selection = plan.selection
    within = window.predicate(_cursor(plan).tables)
    return replace(plan, selection=replace(selection, predicates=(*selection.predicates, within)))


def _cursor(plan: Plan) -> Cursor:
    cursor = plan.selection.dataset.cursor
    if cursor is None:
        raise Broken("what is new was to be read of a dataset without a cursor; this is a defect, please report it")
    return cursor


def _key_column(plan: Plan, deletions: Deletions) -> Column | None:
    """The file's column whose values the deletions name; one that is computed may have its name, and has others."""
    declared = (column for column in plan.columns if not column.computed)
    return next((column for column in declared if column.source_name == deletions.column), None)


def _witness(attempt: Attempt, plan: Plan, column: Column, keys: list[str]) -> None:
    """Shows the keys to whoever looks for people in what is delivered: they may name some."""
    import polars as pl

    if attempt.witness is not None:
        attempt.witness(plan.selection.dataset, (column,), pl.DataFrame({column.name: keys}))


def _untold(plan: Plan, window: Window, deletions: Deletions | None, connection: Connection) -> str:
    """Why no deletions are listed; empty where they are."""
    if deletions is None:
        return "the dataset does not tell of deletions"
    if window.since is None:
        return "this is the first export of its series"
    key = _key_column(plan, deletions)
    if key is None:
        return f"the file has no column {deletions.column}"
    if key.name in plan.selection.masked:
        return f"the column {deletions.column} is masked"
    if plan.selection.scope is Scope.OWN and not deletions.owner:
        return "whose the deleted rows were is not known"
    with translated_errors():
        found = connection.execute(
            "SELECT has_table_privilege(oid, 'SELECT') FROM pg_class WHERE oid = to_regclass(%s)", (deletions.table,)
        ).fetchone()
    why = "the source has no table" if found is None else "the account of the source may not read the table"
    return "" if found == (True,) else f"{why} {deletions.table}"


def _deleted(deletions: Deletions, selection: Selection, window: Window) -> sql.Composed:
    """The query of the keys that were deleted within the window, of whom and what the selection is about."""
    parts = [sql.SQL("({})").format(sql.SQL(deletions.where)), window.predicate(["deletion"])]
    if selection.scope is Scope.OWN:
        parts.append(sql.SQL("({}) = {}").format(sql.SQL(deletions.owner), sql.Literal(selection.owner_id)))
    parts += [_filtered(text, selection.values[name]) for name, text in _chosen(deletions, selection).items()]
    return sql.SQL("SELECT {}, {} FROM {} AS deletion WHERE {} ORDER BY 2, 1").format(
        sql.SQL(deletions.key), sql.SQL(deletions.at), sql.SQL(deletions.table), sql.SQL(" AND ").join(parts)
    )


def _chosen(deletions: Deletions, selection: Selection) -> Mapping[str, str]:
    return {name: text for name, text in deletions.filters.items() if name in selection.values}


def _filtered(text: str, value: object) -> sql.Composed:
    values = value if isinstance(value, tuple) else (value,)
    literals = sql.SQL(", ").join(map(sql.Literal, values))
    return sql.SQL("({})").format(sql.SQL(text).format(value=literals, values=literals))
