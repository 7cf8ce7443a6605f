"""`events`: one row for each event of the application."""

from export_pipeline.datasets._cursors import deleted_from
from export_pipeline.model.access import Role, Scope
from export_pipeline.model.dataset import JSON, TEXT, TIMESTAMP, UUID, Column, Cursor, Dataset, Filter, Spread, Subject
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Measure, Report

_COUNT = Measure("Events", Aggregate.COUNT)
#: What properties hold about people by habit; it does not leave.
_PERSONAL = ("$ip", "ip", "email", "$email", "phone", "name", "$name")
_KEYS = ", ".join(f"'{key}'" for key in _PERSONAL)

DATASET = Dataset(
    name="events",
    title="Events",
    description=(
        "One row per event. Users are pseudonyms, and these properties are left out of every row: "
        f"{', '.join(_PERSONAL)}."
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
            f"event.properties - ARRAY[{_KEYS}]",
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
