"""The sensor that starts a run for each request that is due. It waits inside its tick and so sees a request at once.

It claims nothing: the run does, when it begins. So a reply that gets lost loses no request.
"""

import json
import time
from contextlib import suppress
from datetime import UTC, datetime

import dagster as dg

from export_pipeline.flow.engine import Engine
from export_pipeline.model.errors import ErrorKind, ExportError, Superseded
from export_pipeline.model.job import ExportJob
from export_pipeline.orchestration.exports import JOB_NAME, config_of, tags_of
from export_pipeline.orchestration.resource import ServicesResource

#: A tick ends before the daemon's next loop, which comes every 5 s.
WAIT_SECONDS = 4.5
#: How often to look while rows wait that were handed over before (seconds).
_LOOK_SECONDS = 0.25
#: After so long a row that still waits is handed over again: its run may be gone. Dagster knows its run key (seconds).
_AGAIN_SECONDS = 60.0


def run_key(job: ExportJob) -> str:
    """One run for each attempt: Dagster uses a key up for ever, with a failed run too."""
    return f"export:{job.id}:{job.attempt}"


def build_requests_sensor(export_job: dg.JobDefinition, wait_seconds: float = WAIT_SECONDS) -> dg.SensorDefinition:
    """The sensor of that job; `wait_seconds` is how long a tick waits for requests."""

    @dg.sensor(
        name="export_requests_sensor",
        job_name=JOB_NAME,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a run for each filed request that is due, and for each further attempt.",
    )
    def export_requests_sensor(
        context: dg.SensorEvaluationContext, services: dg.ResourceParam[ServicesResource]
    ) -> dg.SensorResult | dg.SkipReason:
        known: dict[str, float] = json.loads(context.cursor) if context.cursor else {}
        now = datetime.now(UTC).timestamp()
        recent = {key: at for key, at in known.items() if now - at < _AGAIN_SECONDS}
        try:
            with services.open() as engine:
                due = wait_for_new(engine, set(recent), wait_seconds)
                keys = {run_key(job): job for job in due}
                fresh = [job for key, job in keys.items() if key not in recent]
                runs = [run for job in fresh for run in run_requests(engine, export_job, job)]
        except ExportError as error:
            return dg.SkipReason(f"not looked: {error}")
        cursor = json.dumps({key: recent.get(key, now) for key in keys})
        if not runs:
            waiting = f"{len(due)} requests wait for their runs to begin" if due else "no request is due"
            refused = f"{len(fresh)} requests were failed, as Dagster accepts no run for them"
            return dg.SensorResult(skip_reason=refused if fresh else waiting, cursor=cursor)
        return dg.SensorResult(run_requests=runs, cursor=cursor)

    return export_requests_sensor


def run_requests(engine: Engine, export_job: dg.JobDefinition, job: ExportJob) -> list[dg.RunRequest]:
    """The run to start for a row. None for one that the job does not accept, which is failed: one such run would end
    the tick, and with it all others, for ever."""
    config = config_of(job)
    try:
        dg.validate_run_config(export_job, config)
    except dg.DagsterInvalidConfigError as error:
        why = "; ".join(item.message for item in error.errors)
        message = (
            f"Dagster accepts no run for it ({why}); if its definitions are out of date, reload them, then `retry`"
        )
        with suppress(Superseded):
            engine.jobs.fail(job.id, job.attempt, kind=ErrorKind.BROKEN, message=message, actor="dagster")
        return []
    return [dg.RunRequest(run_key=run_key(job), run_config=config, tags=tags_of(job))]


def wait_for_new(engine: Engine, known: set[str], seconds: float) -> list[ExportJob]:
    """All due jobs, as soon as one is among them whose run key is not known, or when the time is up."""
    until = time.monotonic() + seconds
    while True:
        left = until - time.monotonic()
        due = engine.jobs.wait_for_due(max(0.0, left))
        if left <= 0 or any(run_key(job) not in known for job in due):
            return due
        # With known rows waiting, `wait_for_due` returns at once.
        if due:
            time.sleep(min(_LOOK_SECONDS, max(0.0, until - time.monotonic())))
