"""Extracts that Dagster sees day by day: events, one partition for each day in UTC, so that a day can be looked at,
taken again or backfilled from the UI. The body is one call into `flow`.
"""

from datetime import date, timedelta
from functools import partial

import dagster as dg

from export_pipeline.flow.attempt import Attempt, supervise
from export_pipeline.flow.daily_extracts import EVENTS, take_day
from export_pipeline.orchestration.nightly import CHECKS, FRESHNESS, KINDS, checked, extract_key
from export_pipeline.orchestration.reporting import ProgressLog, failures_told, table_schema
from export_pipeline.orchestration.resource import ServicesResource

#: The first day that can be asked for.
FIRST_DAY = "2008-01-01"
DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY, timezone="UTC")
_KEY = extract_key(EVENTS.name)


@dg.asset(
    key=_KEY,
    partitions_def=DAYS,
    group_name="daily_extracts",
    description=f"{EVENTS.description} One Parquet file for each day, taken in the night after it.",
    kinds=KINDS,
    freshness_policy=FRESHNESS,
    metadata={"dagster/column_schema": table_schema(EVENTS.columns), "partition_expr": "timestamp"},
    check_specs=[dg.AssetCheckSpec(name=name, asset=_KEY, description=text) for name, text in CHECKS.items()],
)
def daily_events(
    context: dg.AssetExecutionContext, services: dg.ResourceParam[ServicesResource]
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """`flow.daily_extracts.take_day`."""
    day = date.fromisoformat(context.partition_key)
    with failures_told(context), services.open() as engine:
        work = partial(take_day, engine, day)
        file, taken_at = supervise(Attempt(f"events-{day}", 1), work, ProgressLog(context.log))
        return dg.MaterializeResult(
            metadata={
                "dagster/partition_row_count": file.rows,
                "bytes": file.bytes,
                "sha256": file.sha256,
                "address": dg.MetadataValue.path(file.url),
                "snapshot_at": dg.MetadataValue.timestamp(taken_at),
            },
            check_results=checked(engine, _KEY, [file]),
        )


events_job = dg.define_asset_job(
    name="events_job",
    selection=dg.AssetSelection.assets(_KEY),
    description="Takes the events of a day.",
    executor_def=dg.in_process_executor,
)


# Half an hour after midnight: events of the day that were committed late are then in, too.
@dg.schedule(
    name="events_schedule",
    job=events_job,
    cron_schedule="30 0 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night at 00:30 UTC: the events of the day before.",
)
def events_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Asks for yesterday."""
    yesterday = context.scheduled_execution_time - timedelta(days=1)
    return dg.RunRequest(partition_key=yesterday.strftime("%Y-%m-%d"))
