"""`automation_performance`: automatic replies, rules and schedules, by day."""

from export_pipeline.model.access import Role, Scope
from export_pipeline.model.dataset import DATE, FLOAT, INTEGER, TEXT, Column, Dataset, Filter
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Measure, Report

_EXECUTED = Measure("Executed", Aggregate.SUM, "executed")
_SECONDS = "date_part('epoch', run.ended_at - run.started_at)"

DATASET = Dataset(
    name="automation_performance",
    title="Automation performance",
    description="One row per day (in UTC), kind (reply, rule, schedule) and name: how often it ran, and how well.",
    source=f"""(
        SELECT
            (run.started_at AT TIME ZONE 'UTC')::date AS day,
            run.kind,
            run.name,
            count(*) AS executed,
            count(*) FILTER (WHERE run.status = 'succeeded') AS succeeded,
            count(*) FILTER (WHERE run.status = 'failed') AS failed,
            sum({_SECONDS}) AS total_seconds,
            avg({_SECONDS}) AS mean_seconds
        FROM automation_runs AS run
        WHERE {{where}}
        GROUP BY 1, 2, 3
    ) AS result""",
    order_by="result.day, result.kind, result.name",
    columns=(
        Column("day", DATE, "result.day", "The day.", example="2010-11-17"),
        Column("kind", TEXT, "result.kind", "reply, rule or schedule.", example="reply"),
        Column("name", TEXT, "result.name", "Which one.", example="First answer"),
        Column("executed", INTEGER, "result.executed", "How often it was executed."),
        Column("succeeded", INTEGER, "result.succeeded", "How often it succeeded."),
        Column("failed", INTEGER, "result.failed", "How often it failed; others are still running."),
        Column(
            "total_seconds",
            FLOAT,
            "result.total_seconds",
            "How long the executions that ended took together.",
            number_format="#,##0.0",
        ),
        Column("mean_seconds", FLOAT, "result.mean_seconds", "How long one took.", number_format="#,##0.0"),
    ),
    filters=(Filter("kind", TEXT, "run.kind IN ({values})", "Only these kinds.", many=True),),
    date_column="run.started_at",
    date_label="the execution's started_at",
    access={Role.ANALYST: Scope.ALL, Role.ADMIN: Scope.ALL, Role.SERVICE: Scope.ALL},
    tables=("automation_runs",),
    report=Report(
        figures=(_EXECUTED, Measure("Failed", Aggregate.SUM, "failed")),
        charts=(
            Chart("Executed per day", ChartKind.LINE, "day", _EXECUTED, Bucket.DAY),
            Chart("Executed by kind", ChartKind.PIE, "kind", _EXECUTED),
        ),
    ),
)
