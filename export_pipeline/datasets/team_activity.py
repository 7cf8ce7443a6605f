"""`team_activity`: what each team did, week by week."""

from export_pipeline.model.access import Role, Scope
from export_pipeline.model.dataset import DATE, INTEGER, TEXT, Column, Dataset, Filter
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Measure, Report

_ACTIONS = Measure("Actions", Aggregate.SUM, "actions")

DATASET = Dataset(
    name="team_activity",
    title="Team activity",
    description="One row per team and week (from Monday, in UTC) in which anybody of the team did anything.",
    source="""(
        SELECT
            date_trunc('week', activity.at AT TIME ZONE 'UTC')::date AS week,
            team.name AS team,
            count(DISTINCT person.id) AS active_users,
            count(*) FILTER (WHERE activity.kind = 'action') AS actions,
            count(*) FILTER (WHERE activity.kind = 'campaign') AS campaigns_created,
            count(*) FILTER (WHERE activity.kind = 'experiment') AS experiments_created,
            count(*) FILTER (WHERE activity.kind = 'flag') AS flags_created
        FROM (
            SELECT actor_id AS user_id, at, 'action' AS kind FROM app_audit_log
            UNION ALL SELECT owner_id, created_at, 'campaign' FROM campaigns
            UNION ALL SELECT owner_id, created_at, 'experiment' FROM experiments
            UNION ALL SELECT created_by, created_at, 'flag' FROM feature_flags
        ) AS activity
        JOIN users AS person ON person.id = activity.user_id
        JOIN teams AS team ON team.id = person.team_id
        WHERE {where}
        GROUP BY 1, 2
    ) AS result""",
    order_by="result.week, result.team",
    columns=(
        Column("week", DATE, "result.week", "The week's Monday.", example="2010-11-15"),
        Column("team", TEXT, "result.team", "The team.", example="North"),
        Column("active_users", INTEGER, "result.active_users", "How many of its users did anything."),
        Column("actions", INTEGER, "result.actions", "Entries of the application's audit log."),
        Column("campaigns_created", INTEGER, "result.campaigns_created", "Campaigns made."),
        Column("experiments_created", INTEGER, "result.experiments_created", "Experiments made."),
        Column("flags_created", INTEGER, "result.flags_created", "Feature flags made."),
    ),
    filters=(Filter("team", TEXT, "team.name IN ({values})", "Only these teams, by name.", many=True),),
    date_column="activity.at",
    date_label="when it was done",
    access={Role.ANALYST: Scope.ALL, Role.COMPLIANCE: Scope.ALL, Role.ADMIN: Scope.ALL, Role.SERVICE: Scope.ALL},
    tables=("teams", "users", "app_audit_log", "campaigns", "experiments", "feature_flags"),
    report=Report(
        figures=(_ACTIONS,),
        charts=(
            Chart("Actions by week", ChartKind.LINE, "week", _ACTIONS, Bucket.WEEK),
            Chart("Actions by team", ChartKind.BAR, "team", _ACTIONS),
        ),
        subject="team",
    ),
)
