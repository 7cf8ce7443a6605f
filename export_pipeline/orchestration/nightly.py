"""What happens every night: extracts of the source's tables, and the recurring exports that are made from them.

Each asset's body is one call into `flow`; the checks read back what lies in the bucket.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import dagster as dg

from export_pipeline.flow.attempt import Attempt, supervise
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.extracts import TABLES, take_extracts
from export_pipeline.flow.recurring import NIGHTLY, export_nightly
from export_pipeline.model.dataset import Dataset
from export_pipeline.model.errors import ExportError
from export_pipeline.model.job import ExportFile
from export_pipeline.orchestration.reporting import ProgressLog, described, failures_told, table_schema
from export_pipeline.orchestration.resource import ServicesResource

_DESTINATION = "s3"
#: What extracts are made from and with.
KINDS = {"postgres", "parquet", "s3"}
#: What is made nightly is late after more than a day.
FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36), warn_window=timedelta(hours=26))
#: The checks of whatever lies in the bucket, by name.
CHECKS = {
    "row_count": "The Parquet files in the bucket hold as many rows as were read from the source.",
    "read_back": "The objects in the bucket have the size and the SHA-256 of what was written.",
}


def extract_key(table: str) -> dg.AssetKey:
    """The asset of a table's extract."""
    return dg.AssetKey(["extracts", table])


def nightly_key(dataset: str) -> dg.AssetKey:
    """The asset of a dataset's nightly exports."""
    return dg.AssetKey(["recurring", f"nightly_{dataset}"])


@dg.multi_asset(
    name="extracts",
    specs=[
        dg.AssetSpec(
            key=extract_key(table.name),
            group_name="extracts",
            description=f"{table.description} All extracts of a night are of one snapshot.",
            kinds=KINDS,
            freshness_policy=FRESHNESS,
            metadata={"dagster/column_schema": table_schema(table.columns)},
        )
        for table in TABLES
    ],
    check_specs=[
        dg.AssetCheckSpec(name=name, asset=extract_key(table.name), description=text)
        for table in TABLES
        for name, text in CHECKS.items()
    ],
)
def extracts(
    context: dg.AssetExecutionContext, services: dg.ResourceParam[ServicesResource]
) -> Iterator[dg.MaterializeResult[Any]]:
    """`flow.extracts.take_extracts`."""
    with failures_told(context), services.open() as engine:
        taken = supervise(Attempt("extracts", 1), partial(take_extracts, engine), ProgressLog(context.log))
        for name, file in taken.files.items():
            yield dg.MaterializeResult(
                asset_key=extract_key(name),
                metadata={
                    "dagster/row_count": file.rows,
                    "bytes": file.bytes,
                    "sha256": file.sha256,
                    "address": dg.MetadataValue.path(file.url),
                    "snapshot_at": dg.MetadataValue.timestamp(taken.taken_at),
                },
                check_results=checked(engine, extract_key(name), [file]),
            )


def build_nightly_export(name: str, dataset: Dataset) -> dg.AssetsDefinition:
    """The asset that exports a dataset for each active campaign, from the extracts of the tables that it reads."""

    @dg.asset(
        key=nightly_key(name),
        deps=[extract_key(table) for table in dataset.tables],
        group_name="recurring",
        description=f"Nightly, for each active campaign, as Parquet. {described(dataset)}",
        kinds={"duckdb", "parquet", "s3"},
        freshness_policy=FRESHNESS,
        metadata={"dagster/column_schema": table_schema(dataset.columns)},
        check_specs=[
            dg.AssetCheckSpec(name=check, asset=nightly_key(name), description=text) for check, text in CHECKS.items()
        ],
    )
    def nightly(
        context: dg.AssetExecutionContext, services: dg.ResourceParam[ServicesResource]
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """`flow.recurring.export_nightly`."""
        files: list[ExportFile] = []
        exports: list[str] = []
        with failures_told(context), services.open() as engine:
            progress = ProgressLog(context.log)
            for job in export_nightly(engine, name, run_id=context.run.run_id, observer=progress):
                files += job.files
                exports.append(job.id)
                context.log.info(f"delivered {job.rows or 0:,} rows: {job.files[0].url}")
            return dg.MaterializeResult(
                metadata={
                    "dagster/row_count": sum(file.rows for file in files),
                    "bytes": sum(file.bytes for file in files),
                    "exports": len(exports),
                    "export_ids": dg.MetadataValue.json(exports),
                },
                check_results=checked(engine, nightly_key(name), files),
            )

    return nightly


def build_nightly_exports(datasets: Mapping[str, Dataset]) -> list[dg.AssetsDefinition]:
    """One asset for each dataset that is exported nightly."""
    return [build_nightly_export(name, datasets[name]) for name in NIGHTLY]


def checked(engine: Engine, key: dg.AssetKey, files: list[ExportFile]) -> list[dg.AssetCheckResult]:
    """The checks' results: what lies in the bucket, read back, against what was written."""
    rows = sum(file.rows for file in files)
    stored = sum(stored_rows(engine, file) for file in files)
    wrong = [file.url for file in files if not _as_written(engine, file)]
    counted: dict[str, Any] = {"rows written": rows, "rows stored": stored}
    return [
        dg.AssetCheckResult(check_name="row_count", asset_key=key, passed=rows == stored, metadata=counted),
        dg.AssetCheckResult(
            check_name="read_back",
            asset_key=key,
            passed=not wrong,
            metadata={"files": len(files), "wrong": dg.MetadataValue.json(wrong)},
        ),
    ]


def stored_rows(engine: Engine, file: ExportFile) -> int:
    """How many rows the Parquet file in the bucket says that it holds; none where it cannot be read."""
    from pyarrow import ArrowException, parquet

    try:
        with engine.destination(_DESTINATION).filesystem().open(file.url) as stored:
            return int(parquet.read_metadata(stored).num_rows)
    except (OSError, ArrowException):
        return 0


def _as_written(engine: Engine, file: ExportFile) -> bool:
    try:
        engine.destination(_DESTINATION).confirm(file.key, bytes=file.bytes, sha256=file.sha256)
    except ExportError:
        return False
    return True


extract_job = dg.define_asset_job(
    name="extract_job",
    selection=dg.AssetSelection.groups("extracts", "recurring"),
    description="Takes the extracts and makes the recurring exports from them.",
    executor_def=dg.in_process_executor,
    tags={"export/size": "large"},
)

extract_schedule = dg.ScheduleDefinition(
    name="extract_schedule",
    job=extract_job,
    cron_schedule="0 2 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night at 02:00 UTC.",
)
