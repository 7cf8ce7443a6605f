"""Extracts of events, day by day: one Parquet file in the bucket for each day `[day, day + 1)` in UTC.

Events only grow, so a day is read once, when it is over, and again only where somebody asks for it. As all extracts
they hold everything: they are encrypted, no link is ever made to one, and they go EXPORT_CLEANUP_DAYS after they were
taken.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta

from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.dates import DATE_FROM, DATE_TO
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.extracts import take_table
from export_pipeline.flow.publish import publish_manifest
from export_pipeline.model.dataset import JSON, TEXT, TIMESTAMP, UUID, Column, Dataset
from export_pipeline.model.job import ExportFile

_DESTINATION = "s3"

EVENTS = Dataset(
    name="events",
    title="Extract of events",
    description="All events of one day, in UTC, with all their properties. Internal: nobody can ask for it.",
    source="events",
    order_by="timestamp, id",
    columns=tuple(
        Column(name, kind, name, text)
        for name, kind, text in (
            ("id", UUID, "The event."),
            ("event", TEXT, "What happened."),
            ("distinct_id", TEXT, "A pseudonym of the user."),
            ("timestamp", TIMESTAMP, "When."),
            ("properties", JSON, "What else is known about it."),
        )
    ),
    filters=(),
    date_column="timestamp",
    access={},
)


def take_day(engine: Engine, day: date, attempt: Attempt) -> tuple[ExportFile, datetime]:
    """Writes the events of a day and returns the file, and the moment that it shows. What was taken of the day before
    goes once the new file is whole. Raises Transient, Broken; then what was there stays."""
    destination = engine.destination(_DESTINATION)
    before = {item.key.rpartition("/")[0] for item in destination.list(_folder(engine, day))}
    prefix = f"{_folder(engine, day)}{uuid.uuid4().hex[:8]}/"
    span = {DATE_FROM: day.isoformat(), DATE_TO: day.isoformat()}
    try:
        with engine.source.snapshot() as snapshot, attempt.stopping_with(snapshot.connection.cancel_safe):
            file = take_table(engine, prefix, EVENTS, snapshot, attempt, filters=span)
        document = {"day": day.isoformat(), "taken_at": snapshot.taken_at.isoformat(), "file": asdict(file)}
        publish_manifest(destination, prefix, json.dumps(document).encode())
    except BaseException:
        destination.clean(prefix)
        raise
    for folder in before:
        destination.clean(f"{folder}/")
    return file, snapshot.taken_at


def old_days(engine: Engine) -> list[str]:
    """The prefixes of the days that were taken more than EXPORT_CLEANUP_DAYS ago."""
    limit = datetime.now(UTC) - timedelta(days=engine.settings.cleanup_days)
    newest: dict[str, datetime] = {}
    for prefix, modified_at in _days(engine):
        newest[prefix] = max(modified_at, newest.get(prefix, modified_at))
    return [prefix for prefix, modified_at in newest.items() if modified_at < limit]


def _days(engine: Engine) -> Iterator[tuple[str, datetime]]:
    """Each stored object's day, as the prefix of its keys, and when it was stored."""
    root = _root(engine)
    for item in engine.destination(_DESTINATION).list(root):
        # What is not ours to name is not ours to delete.
        if found := re.match(r"\d{4}-\d{2}-\d{2}/", item.key.removeprefix(root)):
            yield root + found[0], item.modified_at


def _folder(engine: Engine, day: date) -> str:
    return f"{_root(engine)}{day.isoformat()}/"


def _root(engine: Engine) -> str:
    prefix = engine.settings.s3_prefix.strip("/")
    # Beside the extracts that are taken together, not among them: their sets are told by their folders.
    return f"{prefix}/daily_extracts/{EVENTS.name}/" if prefix else f"daily_extracts/{EVENTS.name}/"
