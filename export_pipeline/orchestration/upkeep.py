"""The sensors that keep rows true: the sweep, and what follows when a run fails or is terminated."""

from collections.abc import Callable, Iterator

import dagster as dg

from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import clean_attempt
from export_pipeline.flow.sweep import SweepReport, bury, sweep
from export_pipeline.model.errors import ErrorKind, ExportError, Superseded
from export_pipeline.model.job import ExportJob, Status
from export_pipeline.orchestration.exports import ATTEMPT_TAG, ID_TAG
from export_pipeline.orchestration.resource import ServicesResource

_ACTOR = "dagster"
_SWEEP_SECONDS = 15
_LOOK_SECONDS = 5


@dg.sensor(
    name="sweep_sensor",
    minimum_interval_seconds=_SWEEP_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends exports whose worker is dead (next attempt, or failed) and cleans what attempts left behind.",
)
def sweep_sensor(context: dg.SensorEvaluationContext, services: dg.ResourceParam[ServicesResource]) -> dg.SkipReason:
    """`flow.sweep.sweep`, also at start."""
    try:
        with services.open() as engine:
            report = sweep(engine)
    except ExportError as error:
        return dg.SkipReason(f"not swept: {error}")
    done = [f"{name}: {', '.join(ids)}" for name, ids in vars(report).items() if ids]
    return dg.SkipReason("; ".join(done) or "nothing to sweep")


@dg.run_failure_sensor(
    name="export_failure_sensor",
    minimum_interval_seconds=_LOOK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends the attempt of a run that failed without saying so in its row: killed, or never begun.",
)
def export_failure_sensor(
    context: dg.RunFailureSensorContext, services: dg.ResourceParam[ServicesResource]
) -> dg.SkipReason | None:
    """Puts the rows of a failed run right."""
    reason = context.failure_event.message or "no reason is known"
    return _told(services, lambda engine: settle_failed(engine, context.dagster_run, reason))


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.CANCELED,
    name="export_cancel_sensor",
    minimum_interval_seconds=_LOOK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Cancels the export of a run that was terminated before it began, or had to be killed.",
)
def export_cancel_sensor(
    context: dg.RunStatusSensorContext, services: dg.ResourceParam[ServicesResource]
) -> dg.SkipReason | None:
    """Puts the rows of a terminated run right."""
    return _told(services, lambda engine: settle_cancelled(engine, context.dagster_run))


def settle_failed(engine: Engine, run: dg.DagsterRun, reason: str) -> list[str]:
    """Ends what the run left `processing` as the sweep would, without waiting for its silence; fails what it never
    began. Returns the ids of the exports that it changed."""
    changed = []
    for job in open_jobs(engine, run):
        try:
            if job.status is Status.PROCESSING:
                bury(engine, job, SweepReport())
            else:
                message = f"its Dagster run failed before it began ({reason}); see the run {run.run_id}, then `retry`"
                engine.jobs.fail(job.id, job.attempt, kind=ErrorKind.BROKEN, message=message, actor=_ACTOR)
        except Superseded:
            continue
        changed.append(job.id)
    return changed


def settle_cancelled(engine: Engine, run: dg.DagsterRun) -> list[str]:
    """Cancels what the run left open. Returns the ids of the exports that it changed."""
    changed = []
    for job in open_jobs(engine, run):
        try:
            engine.jobs.cancelled(job.id, job.attempt, actor=_ACTOR, reason="its Dagster run was terminated")
        except Superseded:
            continue
        if job.status is Status.PROCESSING:
            clean_attempt(engine, job)
        changed.append(job.id)
    return changed


def open_jobs(engine: Engine, run: dg.DagsterRun) -> Iterator[ExportJob]:
    """The rows that count on this run: those it has, and the one whose pending attempt it was started for."""
    for job in engine.jobs.of_run(run.run_id):
        if job.status is Status.PROCESSING:
            yield job
    waiting = engine.jobs.get(run.tags.get(ID_TAG, ""))
    if waiting and waiting.status is Status.PENDING and run.tags.get(ATTEMPT_TAG) == str(waiting.attempt):
        yield waiting


def _told(services: ServicesResource, settle: Callable[[Engine], list[str]]) -> dg.SkipReason | None:
    with services.open() as engine:
        changed = settle(engine)
    return dg.SkipReason(f"put right: {', '.join(changed)}") if changed else None
