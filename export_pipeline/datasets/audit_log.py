"""`audit_log`: the application's own audit events. Our history of exports is in `compliance`."""

from export_pipeline.model.access import Role, Scope, Sensitivity
from export_pipeline.model.dataset import JSON, TEXT, TIMESTAMP, UUID, Column, Cursor, Dataset, Filter, Subject
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Measure, Report

_COUNT = Measure("Entries", Aggregate.COUNT)

DATASET = Dataset(
    name="audit_log",
    title="Audit log",
    description="One row per entry of the application's audit log: who did what to what, and when.",
    source="""
        app_audit_log AS entry
        LEFT JOIN users AS actor ON actor.id = entry.actor_id
        LEFT JOIN teams AS team ON team.id = actor.team_id
    """,
    order_by="entry.at, entry.id",
    columns=(
        Column("id", UUID, "entry.id", "The entry."),
        Column("at", TIMESTAMP, "entry.at", "When.", example="2010-11-17T14:03:22.000000Z"),
        Column("actor_id", UUID, "entry.actor_id", "Who; empty: the application itself."),
        Column("actor", TEXT, "actor.username", "The user name.", Sensitivity.PERSONAL, "manager"),
        Column("actor_role", TEXT, "actor.role", "The role that the actor has now.", example="campaign_manager"),
        Column("team", TEXT, "team.name", "The actor's team now, if any.", example="North"),
        Column("entity_type", TEXT, "entry.entity_type", "What kind of thing.", example="campaign"),
        Column("entity_id", TEXT, "entry.entity_id", "Which one."),
        Column("action", TEXT, "entry.action", "What was done to it.", example="update"),
        Column(
            "detail",
            JSON,
            "entry.detail",
            "What else was written down.",
            Sensitivity.PERSONAL,
            '{"to": 30}',
            free_text=True,
        ),
    ),
    filters=(
        Filter("entity_type", TEXT, "entry.entity_type IN ({values})", "Only things of these kinds.", many=True),
        Filter("action", TEXT, "entry.action IN ({values})", "Only these actions.", many=True),
        Filter(
            "user",
            TEXT,
            "(actor.username IN ({values}) OR actor.email IN ({values}))",
            "Only of these users, by user name or e-mail address.",
            many=True,
            sensitivity=Sensitivity.PERSONAL,
        ),
    ),
    date_column="entry.at",
    date_label="when it was done",
    key="entry.id",
    access={Role.COMPLIANCE: Scope.ALL, Role.ADMIN: Scope.ALL, Role.SERVICE: Scope.ALL},
    tables=("app_audit_log", "users", "teams"),
    cursor=Cursor(("entry", "actor", "team")),
    subjects={"actor_id": Subject.ID, "actor": Subject.ID},
    report=Report(
        figures=(_COUNT,),
        charts=(
            Chart("Entries per day", ChartKind.LINE, "at", _COUNT, Bucket.DAY),
            Chart("Entries by action", ChartKind.BAR, "action", _COUNT),
            Chart("Entries by kind of thing", ChartKind.BAR, "entity_type", _COUNT),
        ),
    ),
)
