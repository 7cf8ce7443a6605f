"""Recurring exports: nightly, for each active campaign, made from the extracts under a service identity."""

from collections.abc import Iterator

from export_pipeline.flow.attempt import Observer
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.extracts import active_campaigns
from export_pipeline.flow.request import file_request
from export_pipeline.model.access import SERVICE
from export_pipeline.model.errors import Broken, Rejected, Transient
from export_pipeline.model.job import ExportJob, ExportRequest

#: The datasets that are exported nightly.
NIGHTLY = ("campaign_results", "survey_outcomes")


def export_nightly(engine: Engine, dataset: str, *, run_id: str, observer: Observer) -> Iterator[ExportJob]:
    """Exports the dataset for each campaign that the extracts show as active, one after the other.

    One that fails does not keep the others from theirs; at the end Broken is raised, with all that failed.
    """
    failures = []
    for campaign_id in active_campaigns(engine):
        request = ExportRequest(
            dataset=dataset,
            requested_by=SERVICE.email,
            filters={"campaign_id": campaign_id},
            format="parquet",
            recurring=True,
            reason="nightly export",
        )
        try:
            job = file_request(engine, request, service=SERVICE, claim_as=run_id)
            yield run_export(engine, job, run_id=run_id, observer=observer)
        except (Rejected, Transient, Broken) as error:
            failures.append(f"campaign {campaign_id}: {error}")
    if failures:
        raise Broken(f"{len(failures)} of the nightly exports of {dataset} failed: " + "; ".join(failures))
