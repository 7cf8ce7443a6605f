"""`events`: one row for each event of the application."""

from export_pipeline.datasets._cursors import deleted_from
from export_pipeline.model.access import Role, Scope
from export_pipeline.model.dataset import JSON, TEXT, TIMESTAMP, UUID, Column, Cursor, Dataset, Filter, Spread, Subject
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Measure, Report

_COUNT = Measure("Events", Aggregate.COUNT)
#: What properties hold about people by habit; it does not leave.
_PERSONAL = ("$ip", "ip", "email", "$email", "phone", "name", "$name", "$set", "$set_once")
_KEYS = ", ".join(f"'{key}'" for key in _PERSONAL)
#: Which of an event's keys are among them, in any letter case. Most events have none, and are passed on as they are.
_HELD = f"""SELECT held.key FROM jsonb_object_keys(event.properties) AS held (key)
        WHERE lower(held.key COLLATE "C") IN ({_KEYS})"""
_OTHERS = f"""
    CASE WHEN jsonb_typeof(event.properties) = 'object' THEN
        CASE WHEN EXISTS ({_HELD}) THEN event.properties - ARRAY({_HELD}) ELSE event.properties END
    END
"""

DATASET = Dataset(
    name="events",
    title="Events",
    description=(
        "One row per event. Users are pseudonyms, and these properties are left out of every row, in any letter case: "
        f"{', '.join(_PERSONAL)}. What properties hold deeper inside is left in when they leave as a whole; properties "
        "that are no object do not leave."
    ),
    source="events AS event",
    order_by="event.timestamp, event.id",
    columns=(
        Column("id", UUID, "event.id", "The event."),
        Column("event", TEXT, "event.event", "What happened.", example="page_viewed"),
        Column("distinct_id", TEXT, "event.distinct_id", "A pseudonym of the user.", example="user-00042"),
        Column("timestamp", TIMESTAMP, "event.timestamp", "When.", example="2010-11-17T14:03:22.000000Z"),
        Column(
            "properties",
            JSON,
            _OTHERS,
            "What else is known about it.",
            example='{"path": "/leads"}',
            free_text=True,
        ),
    ),
    filters=(
        Filter("events", TEXT, "event.event IN ({values})", "Only events of these names.", many=True),
        Filter("distinct_id", TEXT, "event.distinct_id IN ({values})", "Only events of these users.", many=True),
    ),
    date_column="event.timestamp",
    date_label="the event's timestamp",
    key="event.id",
    spread=Spread("properties", "event.properties", _PERSONAL),
    access={Role.ANALYST: Scope.ALL, Role.ADMIN: Scope.ALL, Role.SERVICE: Scope.ALL},
    tables=("events",),
    cursor=Cursor(("event",), deleted_from("events")),
    subjects={"distinct_id": Subject.ID},
    report=Report(
        figures=(_COUNT,),
        charts=(
            Chart("Events per day", ChartKind.LINE, "timestamp", _COUNT, Bucket.DAY),
            Chart("Events by name", ChartKind.BAR, "event", _COUNT),
        ),
    ),
)
