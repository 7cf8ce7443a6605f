"""`feature_usage`: how much each feature is used, day by day."""

from export_pipeline.model.access import Role, Scope
from export_pipeline.model.dataset import BOOLEAN, DATE, FLOAT, INTEGER, TEXT, Column, Dataset, Filter
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Measure, Report

_USES = Measure("Uses", Aggregate.SUM, "uses")

DATASET = Dataset(
    name="feature_usage",
    title="Feature usage",
    description="One row per feature and day (in UTC) with events feature_used that name it in their property feature.",
    source="""(
        SELECT
            (event.timestamp AT TIME ZONE 'UTC')::date AS day,
            event.properties ->> 'feature' AS feature,
            bool_or(flag.enabled) AS enabled,
            count(*) AS uses,
            count(DISTINCT event.distinct_id) AS users
        FROM events AS event LEFT JOIN feature_flags AS flag ON flag.key = event.properties ->> 'feature'
        WHERE {where}
        GROUP BY 1, 2
    ) AS result""",
    where="event.event = 'feature_used' AND event.properties ->> 'feature' IS NOT NULL",
    order_by="result.day, result.feature",
    columns=(
        Column("day", DATE, "result.day", "The day.", example="2010-11-17"),
        Column("feature", TEXT, "result.feature", "The feature.", example="lead-search"),
        Column("enabled", BOOLEAN, "result.enabled", "Whether its flag is on now; empty where it has none."),
        Column("uses", INTEGER, "result.uses", "How often it was used."),
        Column("users", INTEGER, "result.users", "By how many users."),
        Column(
            "uses_per_user",
            FLOAT,
            "result.uses::float8 / result.users",
            "How often by each.",
            example="1.5",
            number_format="#,##0.00",
        ),
    ),
    filters=(
        Filter("features", TEXT, "event.properties ->> 'feature' IN ({values})", "Only these features.", many=True),
    ),
    date_column="event.timestamp",
    date_label="the event's timestamp",
    access={Role.ANALYST: Scope.ALL, Role.COMPLIANCE: Scope.ALL, Role.ADMIN: Scope.ALL, Role.SERVICE: Scope.ALL},
    tables=("events", "feature_flags"),
    report=Report(
        figures=(_USES,),
        charts=(
            Chart("Uses per day", ChartKind.LINE, "day", _USES, Bucket.DAY),
            Chart("Uses by feature", ChartKind.BAR, "feature", _USES),
        ),
        subject="feature",
    ),
)
