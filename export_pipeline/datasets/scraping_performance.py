"""`scraping_performance`: looks at lead sources, by source and day."""

from export_pipeline.model.access import Role, Scope
from export_pipeline.model.dataset import DATE, FLOAT, INTEGER, TEXT, UUID, Column, Dataset, Filter
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Measure, Report

_FOUND = Measure("Leads found", Aggregate.SUM, "leads_found")
_SECONDS = "date_part('epoch', run.ended_at - run.started_at)"

DATASET = Dataset(
    name="scraping_performance",
    title="Scraping performance",
    description="One row per source and day (in UTC, by when runs began): how often it was looked at, and how well.",
    source=f"""(
        SELECT
            (run.started_at AT TIME ZONE 'UTC')::date AS day,
            source.id AS source_id,
            source.name AS source,
            count(*) AS runs,
            count(*) FILTER (WHERE run.status = 'succeeded') AS succeeded,
            count(*) FILTER (WHERE run.status = 'failed') AS failed,
            sum(run.leads_found) AS leads_found,
            sum(run.duplicates) AS duplicates,
            sum(run.errors) AS errors,
            sum({_SECONDS}) AS total_seconds,
            avg({_SECONDS}) AS mean_seconds
        FROM source_runs AS run JOIN lead_sources AS source ON source.id = run.source_id
        WHERE {{where}}
        GROUP BY 1, 2, 3
    ) AS result""",
    order_by="result.day, result.source",
    columns=(
        Column("day", DATE, "result.day", "The day.", example="2010-11-17"),
        Column("source_id", UUID, "result.source_id", "The source."),
        Column("source", TEXT, "result.source", "Its name.", example="Listings"),
        Column("runs", INTEGER, "result.runs", "How often it was looked at."),
        Column("succeeded", INTEGER, "result.succeeded", "How many runs succeeded."),
        Column("failed", INTEGER, "result.failed", "How many failed; others are still running."),
        Column("leads_found", INTEGER, "result.leads_found", "How many leads they found."),
        Column("duplicates", INTEGER, "result.duplicates", "How many of them were known already."),
        Column("errors", INTEGER, "result.errors", "How many errors there were."),
        Column(
            "total_seconds",
            FLOAT,
            "result.total_seconds",
            "How long the runs that ended took together.",
            number_format="#,##0.0",
        ),
        Column("mean_seconds", FLOAT, "result.mean_seconds", "How long one took.", number_format="#,##0.0"),
        Column(
            "success_rate",
            FLOAT,
            "result.succeeded::float8 / nullif(result.succeeded + result.failed, 0)",
            "The share of those that ended that succeeded, 0 to 1.",
            example="0.5",
            number_format="0.0%",
        ),
    ),
    filters=(Filter("sources", TEXT, "source.name IN ({values})", "Only these sources, by name.", many=True),),
    date_column="run.started_at",
    date_label="the run's started_at",
    access={Role.ANALYST: Scope.ALL, Role.ADMIN: Scope.ALL, Role.SERVICE: Scope.ALL},
    tables=("source_runs", "lead_sources"),
    report=Report(
        figures=(
            _FOUND,
            Measure("Duplicates", Aggregate.SUM, "duplicates"),
            Measure("Failed runs", Aggregate.SUM, "failed"),
        ),
        charts=(
            Chart("Leads found per day", ChartKind.LINE, "day", _FOUND, Bucket.DAY),
            Chart("Leads found by source", ChartKind.BAR, "source", _FOUND),
        ),
    ),
)
