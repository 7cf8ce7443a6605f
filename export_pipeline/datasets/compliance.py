"""`compliance`: what somebody who answers for the rules looks at. It reads our own audit log: see `tables`."""

from export_pipeline.model.access import Role, Scope, Sensitivity
from export_pipeline.model.dataset import JSON, TEXT, TIMESTAMP, Column, Dataset, Filter, Subject
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Measure, Report

_COUNT = Measure("Entries", Aggregate.COUNT)

DATASET = Dataset(
    name="compliance",
    title="Compliance",
    description=(
        "One row per permission change (a user's role), configuration change (a setting or a feature flag), other "
        "action of an administrator in the application, and data access: every export from the request to the end, "
        "every link, and every use of one that goes through our door (docs/links.md); the use of one that the store "
        "presigned is known to the store's access log alone. The audit log of exports has to lie in the source's "
        "database."
    ),
    source="""(
        SELECT
            entry.at,
            entry.id::text AS id,
            CASE
                WHEN entry.action = 'role_change' THEN 'permission change'
                WHEN entry.entity_type IN ('setting', 'feature_flag') AND entry.action <> 'view'
                    THEN 'configuration change'
                WHEN actor.role = 'admin' THEN 'admin action'
            END AS kind,
            actor.email AS actor, actor.role AS actor_role,
            entry.entity_type, entry.entity_id, entry.action, '' AS reason, entry.detail
        FROM app_audit_log AS entry LEFT JOIN users AS actor ON actor.id = entry.actor_id
        UNION ALL
        SELECT
            entry.at, lpad(entry.id::text, 20, '0'), 'data access', entry.actor, actor.role,
            'export of ' || coalesce(entry.dataset, '(unknown)'), entry.export_id::text, entry.action, entry.reason,
            entry.detail
        FROM exports.audit_log AS entry LEFT JOIN users AS actor ON lower(actor.email) = lower(entry.actor)
    ) AS entry""",
    where="entry.kind IS NOT NULL",
    order_by="entry.at, entry.id",
    columns=(
        Column("at", TIMESTAMP, "entry.at", "When.", example="2010-11-17T14:03:22.000000Z"),
        Column(
            "kind",
            TEXT,
            "entry.kind",
            "permission change, configuration change, admin action or data access.",
            example="data access",
        ),
        Column("actor", TEXT, "entry.actor", "Who, by e-mail address.", Sensitivity.PERSONAL, "manager@example.com"),
        Column("actor_role", TEXT, "entry.actor_role", "The role that the actor has now.", example="admin"),
        Column("entity_type", TEXT, "entry.entity_type", "What kind of thing.", example="export of campaign_results"),
        Column("entity_id", TEXT, "entry.entity_id", "Which one."),
        Column("action", TEXT, "entry.action", "What was done.", example="link"),
        Column("reason", TEXT, "entry.reason", "Why it was allowed or refused.", Sensitivity.PERSONAL, free_text=True),
        Column("detail", JSON, "entry.detail", "What else was written down.", Sensitivity.PERSONAL, free_text=True),
    ),
    filters=(
        Filter("kind", TEXT, "entry.kind IN ({values})", "Only these kinds.", many=True),
        Filter("entity_type", TEXT, "entry.entity_type IN ({values})", "Only things of these kinds.", many=True),
        Filter("action", TEXT, "entry.action IN ({values})", "Only these actions.", many=True),
        Filter(
            "user",
            TEXT,
            "entry.actor IN ({values})",
            "Only of these users, by e-mail address.",
            many=True,
            sensitivity=Sensitivity.PERSONAL,
        ),
    ),
    date_column="entry.at",
    date_label="when it was done",
    access={Role.COMPLIANCE: Scope.ALL, Role.ADMIN: Scope.ALL, Role.SERVICE: Scope.ALL},
    tables=("app_audit_log", "users", "exports.audit_log"),
    subjects={"actor": Subject.EMAIL},
    report=Report(
        figures=(_COUNT, Measure("Data accesses", Aggregate.COUNT, only=("kind", ("data access",)))),
        charts=(
            Chart("Entries per day", ChartKind.LINE, "at", _COUNT, Bucket.DAY),
            Chart("Entries by kind", ChartKind.PIE, "kind", _COUNT),
        ),
    ),
)
