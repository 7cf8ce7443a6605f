"""The sensor that tells people what failed: exports, whoever ran them, and scheduled runs as a whole."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

import dagster as dg

from export_pipeline.flow.alert_message import Alert
from export_pipeline.flow.alerts import tell_failures
from export_pipeline.model.errors import ExportError
from export_pipeline.orchestration.resource import ServicesResource

_LOOK_SECONDS = 15
#: Dagster's own: the schedule that launched a run.
_SCHEDULE_TAG = "dagster/schedule_name"


def build_alerts_sensor(schedules: Sequence[str]) -> dg.SensorDefinition:
    """The sensor; `schedules` are the names of those whose failed runs are told."""

    @dg.sensor(
        name="alerts_sensor",
        minimum_interval_seconds=_LOOK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells by e-mail or webhook, where they are set up, which exports and scheduled runs failed.",
    )
    def alerts_sensor(
        context: dg.SensorEvaluationContext, services: dg.ResourceParam[ServicesResource]
    ) -> dg.SkipReason:
        """`flow.alerts.tell_failures`; the cursor is its."""
        try:
            with services.open() as engine:
                told = tell_failures(engine, context.cursor, partial(failed_runs, context.instance, schedules))
        except ExportError as error:
            return dg.SkipReason(f"not looked: {error}")
        for level, line in told.lines:
            context.log.log(level, line)
        context.update_cursor(told.cursor)
        return dg.SkipReason(told.summary)

    return alerts_sensor


def failed_runs(instance: dg.DagsterInstance, schedules: Sequence[str], since: datetime) -> list[Alert]:
    """The runs that these schedules launched and that failed since then. What went wrong is left to Dagster to show: a
    library's text may hold a row's values."""
    failed = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.FAILURE], tags={_SCHEDULE_TAG: list(schedules)}, updated_after=since
    )
    return [
        Alert(
            key=f"run:{record.dagster_run.run_id}",
            at=datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.update_timestamp,
            what=f"scheduled run of {record.dagster_run.job_name}, by {record.dagster_run.tags[_SCHEDULE_TAG]}",
            error="see the run in Dagster, mend it, and launch it again",
            run_id=record.dagster_run.run_id,
        )
        for record in instance.get_run_records(failed)
    ]
