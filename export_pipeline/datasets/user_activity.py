"""`user_activity`: what each user did in a period. It reads our own history of exports: see `tables`."""

from export_pipeline.model.access import Role, Scope, Sensitivity
from export_pipeline.model.dataset import INTEGER, TEXT, TIMESTAMP, UUID, Column, Dataset, Filter, Subject
from export_pipeline.model.report import Aggregate, Chart, ChartKind, Measure, Report

_ACTIONS = Measure("Actions", Aggregate.SUM, "total_actions")

DATASET = Dataset(
    name="user_activity",
    title="User activity",
    description=(
        "One row per user who did anything in the period. total_actions counts the exports asked for and the entries "
        "of the application's audit log. The history of exports has to lie in the source's database."
    ),
    source="""(
        SELECT
            person.id, person.username, person.email, person.role, team.name AS team,
            count(*) FILTER (WHERE activity.kind = 'export') AS exports,
            count(*) FILTER (WHERE activity.kind = 'campaign') AS campaigns_created,
            count(*) FILTER (WHERE activity.kind = 'experiment') AS experiments_created,
            count(*) FILTER (WHERE activity.kind = 'flag') AS flags_created,
            count(*) FILTER (WHERE activity.kind IN ('export', 'action')) AS total_actions,
            max(activity.at) AS last_activity
        FROM (
            SELECT actor_id::text AS user_id, at, 'action' AS kind FROM app_audit_log
            UNION ALL SELECT owner_id::text, created_at, 'campaign' FROM campaigns
            UNION ALL SELECT owner_id::text, created_at, 'experiment' FROM experiments
            UNION ALL SELECT created_by::text, created_at, 'flag' FROM feature_flags
            UNION ALL SELECT requester_id, created_at, 'export' FROM exports.export_jobs WHERE NOT recurring
        ) AS activity
        JOIN users AS person ON person.id::text = activity.user_id
        LEFT JOIN teams AS team ON team.id = person.team_id
        WHERE {where}
        GROUP BY person.id, team.name
    ) AS result""",
    order_by="result.username, result.id",
    columns=(
        Column("user_id", UUID, "result.id", "The user."),
        Column("username", TEXT, "result.username", "The user's name.", Sensitivity.PERSONAL, "manager"),
        Column("email", TEXT, "result.email", "E-mail address.", Sensitivity.PERSONAL, "manager@example.com"),
        Column("role", TEXT, "result.role", "The role.", example="campaign_manager"),
        Column("team", TEXT, "result.team", "The team, if any.", example="North"),
        Column("exports", INTEGER, "result.exports", "Exports asked for."),
        Column("campaigns_created", INTEGER, "result.campaigns_created", "Campaigns made."),
        Column("experiments_created", INTEGER, "result.experiments_created", "Experiments made."),
        Column("flags_created", INTEGER, "result.flags_created", "Feature flags made."),
        Column("total_actions", INTEGER, "result.total_actions", "Exports and entries of the audit log together."),
        Column("last_activity", TIMESTAMP, "result.last_activity", "When the last of all these was."),
    ),
    filters=(
        Filter(
            "user",
            TEXT,
            "(person.username IN ({values}) OR person.email IN ({values}))",
            "Only these users, by user name or e-mail address.",
            many=True,
            sensitivity=Sensitivity.PERSONAL,
        ),
        Filter("team", TEXT, "team.name IN ({values})", "Only users of these teams, by name.", many=True),
    ),
    date_column="activity.at",
    date_label="when it was done",
    access={Role.COMPLIANCE: Scope.ALL, Role.ADMIN: Scope.ALL, Role.SERVICE: Scope.ALL},
    tables=("users", "teams", "app_audit_log", "campaigns", "experiments", "feature_flags", "exports.export_jobs"),
    subjects={"user_id": Subject.ID, "username": Subject.ID, "email": Subject.EMAIL},
    report=Report(
        figures=(Measure("Users", Aggregate.COUNT), _ACTIONS, Measure("Exports", Aggregate.SUM, "exports")),
        charts=(Chart("Actions by team", ChartKind.BAR, "team", _ACTIONS),),
    ),
)
