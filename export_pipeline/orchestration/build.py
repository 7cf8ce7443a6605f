"""Puts Dagster's definitions together from the registries. Light: heavy libraries are imported inside ops."""

import dagster as dg

from export_pipeline.embedded.sample import LAST_CAMPAIGN
from export_pipeline.model.dataset import Dataset
from export_pipeline.model.destination import DestinationType
from export_pipeline.orchestration.alerts import build_alerts_sensor
from export_pipeline.orchestration.campaigns import campaign_completed_sensor
from export_pipeline.orchestration.daily import daily_events, events_job, events_schedule
from export_pipeline.orchestration.direct import direct_exports_sensor
from export_pipeline.orchestration.exports import build_export_job
from export_pipeline.orchestration.nightly import build_nightly_exports, extract_job, extract_schedule, extracts
from export_pipeline.orchestration.reporting import described, export_asset_key, table_schema
from export_pipeline.orchestration.requests import build_requests_sensor
from export_pipeline.orchestration.resource import ServicesResource
from export_pipeline.orchestration.retention import retention_job, retention_schedule
from export_pipeline.orchestration.upkeep import export_cancel_sensor, export_failure_sensor, sweep_sensor
from export_pipeline.registry import load_parts
from export_pipeline.services import load_datasets, load_formats, load_packages
from export_pipeline.settings import load_settings

#: What the launchpad is filled in with: a campaign of the sample data, asked for by its owner.
EXAMPLE = {"campaign_id": LAST_CAMPAIGN, "requested_by": "operator@example.com"}


def build_definitions(services: ServicesResource | None = None) -> dg.Definitions:
    """All of it. Tests pass their own services. Raises RegistryError where a part's file is wrong."""
    # No database is asked while definitions load, so none needs to be set.
    datasets = load_datasets(load_settings(DATABASE_URL="postgresql://unused"))
    export_job = build_export_job(
        EXAMPLE,
        sorted({*datasets, *load_packages()}),
        sorted(load_formats()),
        sorted(load_parts("export_pipeline.destinations", "DESTINATION", DestinationType)),
        of_campaigns=frozenset(
            name for name, item in datasets.items() if any(known.name == "campaign_id" for known in item.filters)
        ),
    )
    packages = {package.name: package.description for package in load_packages().values()}
    packages["package"] = "Packages of datasets that somebody chose."
    schedules = [extract_schedule, events_schedule, retention_schedule]
    return dg.Definitions(
        assets=[
            extracts,
            daily_events,
            *build_nightly_exports(datasets),
            *(_export_asset(dataset) for dataset in datasets.values()),
            *(_package_asset(name, text) for name, text in packages.items()),
        ],
        jobs=[export_job, extract_job, events_job, retention_job],
        schedules=schedules,
        sensors=[
            build_requests_sensor(export_job),
            campaign_completed_sensor,
            sweep_sensor,
            direct_exports_sensor,
            build_alerts_sensor([schedule.name for schedule in schedules]),
            export_failure_sensor,
            export_cancel_sensor,
        ],
        executor=dg.in_process_executor,
        resources={"services": services or ServicesResource()},
    )


def _export_asset(dataset: Dataset) -> dg.AssetSpec:
    """Whatever is exported of a dataset; each export is an event of it."""
    return dg.AssetSpec(
        key=export_asset_key(dataset.name),
        group_name="exports",
        description=described(dataset),
        kinds={"postgres", "s3"},
        metadata={"dagster/column_schema": table_schema(dataset.columns)},
    )


def _package_asset(name: str, description: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=export_asset_key(name), group_name="exports", description=description, kinds={"postgres", "s3"}
    )
