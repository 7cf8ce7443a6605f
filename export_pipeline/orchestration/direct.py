"""Tells Dagster about an export that ran outside it (`export --direct`), as an event without a run.

A program of its own: `python -m export_pipeline.orchestration.direct ID`.
"""

import logging
import sys
import warnings

import dagster as dg

from export_pipeline.model.job import ExportJob
from export_pipeline.orchestration.local import prepare_home
from export_pipeline.orchestration.reporting import export_asset_key, job_metadata
from export_pipeline.services import open_services
from export_pipeline.settings import state_folder

logger = logging.getLogger(__name__)


def report_materialization(job: ExportJob) -> None:
    """Files the event in the instance that DAGSTER_HOME names, else in the one of the state folder. The export is
    delivered by then: where Dagster's storage cannot take the event, that is logged and no error."""
    event = dg.AssetMaterialization(
        asset_key=export_asset_key(job.request.label),
        description=f"{job.rows or 0:,} rows as {job.request.format}, outside Dagster",
        metadata=job_metadata(job),
        tags={"export/id": job.id},
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parts of Dagster's that are in beta
            with _instance() as instance:
                instance.report_runless_asset_event(event)
    except Exception as error:
        logger.warning("Dagster was not told of the export %s (%s)", job.id, type(error).__name__)


def _instance() -> dg.DagsterInstance:
    from dagster._core.instance.config import is_dagster_home_set

    if is_dagster_home_set():
        return dg.DagsterInstance.get()
    home = state_folder() / "dagster"
    if not (home / "dagster.yaml").exists():
        prepare_home(home)
    return dg.DagsterInstance.from_config(str(home))


def main() -> None:
    """Reports the export whose id is the argument."""
    with open_services() as engine:
        job = engine.jobs.get(sys.argv[1])
    if job is not None:
        report_materialization(job)


if __name__ == "__main__":
    main()
