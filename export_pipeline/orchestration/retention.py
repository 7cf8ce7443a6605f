"""`retention_job`: deletes what has lived long enough, every night: exports' files, and Dagster's own old runs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from export_pipeline.flow.retention import run_retention
from export_pipeline.orchestration.reporting import failures_told
from export_pipeline.orchestration.resource import ServicesResource

#: A run costs 24 ms to delete; what is left over is deleted the next night.
_MOST_RUNS = 5000
_PAGE = 200
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


class RetentionConfig(dg.Config):
    """How to run it."""

    dry_run: bool = False


@dg.op(
    name="retention",
    description="Deletes expired exports' files, old extracts, stale uploads, abandoned rows, old Dagster runs.",
)
def retention(
    context: dg.OpExecutionContext, config: RetentionConfig, services: dg.ResourceParam[ServicesResource]
) -> None:
    """`flow.retention.run_retention`, then Dagster's runs."""
    with failures_told(context), services.open() as engine:
        report = run_retention(engine, dry_run=config.dry_run)
        runs = delete_old_runs(context.instance, timedelta(days=engine.settings.cleanup_days), dry_run=config.dry_run)
    context.log.info(
        f"{'would go' if config.dry_run else 'went'}: {len(report.expired)} exports, {len(report.extracts)} sets of "
        f"extracts, {len(report.aborted_uploads)} stale uploads, {len(report.abandoned)} temporary folders, "
        f"{runs} Dagster runs"
    )
    for item in (*report.expired, *report.extracts, *report.aborted_uploads, *report.abandoned):
        context.log.debug(item)
    if report.errors:
        raise dg.Failure(description="not all could be deleted: " + "; ".join(report.errors), allow_retries=False)


def delete_old_runs(instance: dg.DagsterInstance, age: timedelta, *, dry_run: bool) -> int:
    """Deletes runs that ended and have not changed for so long. Returns how many."""
    wanted = dg.RunsFilter(statuses=_ENDED, updated_before=datetime.now(UTC) - age)
    if dry_run:
        return instance.get_runs_count(wanted)
    deleted = 0
    while deleted < _MOST_RUNS and (runs := instance.get_runs(wanted, limit=_PAGE)):
        for run in runs:
            instance.delete_run(run.run_id)
            (Path(instance.root_directory) / "run_workers" / f"{run.run_id}.log").unlink(missing_ok=True)
        deleted += len(runs)
    return deleted


@dg.graph(name="retention_graph")
def retention_graph() -> None:
    """One op."""
    retention()


retention_job = retention_graph.to_job(
    name="retention_job",
    description="Deletes what has lived long enough. Rows and the audit log stay.",
    config=dg.RunConfig(ops={"retention": RetentionConfig()}),
    executor_def=dg.in_process_executor,
)

retention_schedule = dg.ScheduleDefinition(
    name="retention_schedule",
    job=retention_job,
    cron_schedule="15 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night at 03:15 UTC.",
)
