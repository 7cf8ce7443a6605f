"""The sensor that tells Dagster about exports that ran outside it (`export --direct`), as events without a run.

Dagster asks; the command that exports does not have to know Dagster, or to wait for it.
"""

import json
from datetime import UTC, datetime

import dagster as dg

from export_pipeline.model.errors import ExportError
from export_pipeline.model.job import ExportJob
from export_pipeline.model.mark import Mark
from export_pipeline.orchestration.reporting import export_asset_key, job_metadata
from export_pipeline.orchestration.resource import ServicesResource

_LOOK_SECONDS = 15
_MOST = 500


@dg.sensor(
    name="direct_exports_sensor",
    minimum_interval_seconds=_LOOK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Records exports that ran outside Dagster (`export --direct`) as materializations of their assets.",
)
def direct_exports_sensor(
    context: dg.SensorEvaluationContext, services: dg.ResourceParam[ServicesResource]
) -> dg.SensorResult | dg.SkipReason:
    """The cursor is how far it has looked."""
    mark = Mark.parse(json.loads(context.cursor)) if context.cursor else Mark.first(datetime.now(UTC))
    try:
        with services.open() as engine:
            ended = engine.jobs.completed_outside_dagster(mark.since, known=list(mark.known), limit=_MOST)
    except ExportError as error:
        return dg.SkipReason(f"not looked: {error}")
    seen = {job.id: job.completed_at for job in ended if job.completed_at}
    if not seen:
        return dg.SkipReason("no export ran outside Dagster")
    cursor = json.dumps(mark.moved(seen, max(seen.values())).document)
    return dg.SensorResult(asset_events=[_materialization(job) for job in ended], cursor=cursor)


def _materialization(job: ExportJob) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        asset_key=export_asset_key(job.request.label),
        description=f"{job.rows or 0:,} rows as {job.request.format}, outside Dagster",
        metadata=job_metadata(job),
        tags={"export/id": job.id},
    )
