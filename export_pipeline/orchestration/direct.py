"""The sensor that tells Dagster about exports that ran outside it (`export --direct`), as events without a run.

Dagster asks; the command that exports does not have to know Dagster, or to wait for it.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import dagster as dg

from export_pipeline.model.errors import ExportError
from export_pipeline.model.job import ExportJob
from export_pipeline.orchestration.reporting import export_asset_key, job_metadata
from export_pipeline.orchestration.resource import ServicesResource

_LOOK_SECONDS = 15
#: How far back the first look of all goes.
_FIRST = timedelta(days=1)
#: An export that ended earlier than another may be seen later: its transaction took longer.
_OVERLAP = timedelta(minutes=5)
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
    """The cursor holds when the newest known export ended, and which ones ended shortly before."""
    seen: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
    newest = max(map(datetime.fromisoformat, seen.values()), default=datetime.now(UTC) - _FIRST + _OVERLAP)
    try:
        with services.open() as engine:
            ended = engine.jobs.completed_outside_dagster(newest - _OVERLAP, known=list(seen), limit=_MOST)
    except ExportError as error:
        return dg.SkipReason(f"not looked: {error}")
    if not ended:
        return dg.SkipReason("no export ran outside Dagster")
    return dg.SensorResult(asset_events=[_materialization(job) for job in ended], cursor=_cursor(seen, ended))


def _materialization(job: ExportJob) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        asset_key=export_asset_key(job.request.label),
        description=f"{job.rows or 0:,} rows as {job.request.format}, outside Dagster",
        metadata=job_metadata(job),
        tags={"export/id": job.id},
    )


def _cursor(seen: dict[str, str], ended: Iterable[ExportJob]) -> str:
    seen = seen | {job.id: job.completed_at.isoformat() for job in ended if job.completed_at}
    oldest = max(map(datetime.fromisoformat, seen.values())) - _OVERLAP
    return json.dumps({key: at for key, at in seen.items() if datetime.fromisoformat(at) >= oldest})
