"""What Dagster is told about an export: progress lines, and a materialization. Numbers and names, never a row."""

import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from logging import Logger
from threading import Thread
from typing import Any

import dagster as dg

from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.catalogue import entry_of
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.estimate import estimate_order
from export_pipeline.flow.links import issue_link
from export_pipeline.flow.order import closed, make_order
from export_pipeline.flow.publish import read_manifest
from export_pipeline.flow.request import reauthorize
from export_pipeline.model.access import Sensitivity
from export_pipeline.model.dataset import Column, Dataset, parse_type
from export_pipeline.model.errors import Broken, Cancelled, ExportError, Superseded, Transient
from export_pipeline.model.job import ExportJob

#: A line costs Dagster 4 ms.
_LOG_SECONDS = 2.0
#: How long an export that has ended, perhaps by a cancel, waits to be told what it was thought to come to.
_ESTIMATE_SECONDS = 2.0


def export_asset_key(dataset: str) -> dg.AssetKey:
    """The asset that exports of a dataset are events of."""
    return dg.AssetKey(["exports", dataset])


class ProgressLog:
    """An observer that writes a line every two seconds."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._last = 0.0

    def __call__(self, attempt: Attempt) -> None:
        """Writes a line, if it is time for one."""
        now = time.monotonic()
        if now - self._last >= _LOG_SECONDS:
            self._last = now
            self._log.info(progress_line(attempt, now - attempt.started))


def progress_line(attempt: Attempt, seconds: float) -> str:
    """How far an attempt is, for people: phase, rows, percent, bytes, rate."""
    rows = f"{attempt.rows_done:,} rows"
    if attempt.rows_estimated:
        # The estimate is PostgreSQL's: it may be too low, and 100 % is only said when it is true.
        percent = min(99, 100 * attempt.rows_done // attempt.rows_estimated)
        rows = f"{attempt.rows_done:,} of about {max(attempt.rows_estimated, attempt.rows_done):,} rows ({percent} %)"
    rate = attempt.rows_done / seconds if seconds > 0 else 0.0
    return f"{attempt.phase.value}: {rows}, {attempt.bytes_done:,} bytes, {rate:,.0f} rows/s"


@contextmanager
def failures_told(context: dg.OpExecutionContext | dg.AssetExecutionContext) -> Iterator[None]:
    """Turns our errors into the end of the run: CANCELED for what was cancelled, else FAILURE with a clear text.

    No error is retried by Dagster: the row says whether there is another attempt, and the sensor starts that one.
    """
    try:
        yield
    except (Cancelled, Superseded) as error:
        context.log.info(str(error))
        # Dagster takes an interrupt for a cancel only where the run was to be cancelled.
        context.instance.report_run_canceling(context.run, str(error))
        raise dg.DagsterExecutionInterruptedError from error
    except ExportError as error:
        if isinstance(error, Broken):
            context.log.error(stack(error))
        # Without its cause: the text of a library's error may hold a row's values.
        raise dg.Failure(description=str(error), allow_retries=False) from None


def stack(error: BaseException) -> str:
    """Where an error and its causes came from: types and places, not their texts."""
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        lines += [f"{type(cause).__name__}, raised at", *traceback.format_tb(cause.__traceback__)]
        cause = cause.__cause__
    return "\n".join(line.rstrip() for line in lines)


def failure_of(error: Transient, job: ExportJob | None) -> Transient:
    """The error, with what becomes of the export: `job` is its row after the failed attempt."""
    if job is None or job.status.value != "pending":
        return error
    return Transient(f"{error}. It will be tried again as attempt {job.attempt}")


def materialization(engine: Engine, job: ExportJob, *, link: bool) -> dg.AssetMaterialization:
    """The event that an export was delivered; with `link` it carries one, which expires and is audited."""
    return dg.AssetMaterialization(
        asset_key=export_asset_key(job.request.label),
        description=f"{job.rows or 0:,} rows as {job.request.format}",
        metadata={**job_metadata(job), **(_link(engine, job) if link else {}), **_schema(engine, job)},
        tags={"export/id": job.id},
    )


@contextmanager
def estimate_told(context: dg.OpExecutionContext, engine: Engine, job: ExportJob) -> Iterator[None]:
    """Around an export: says, when it begins, what it will come to by PostgreSQL's own estimate, and what to mind. In a
    thread of its own, as that takes a small export as long as its rows do."""
    thread = Thread(target=_tell_estimate, args=(context, engine, job), name="estimate", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(_ESTIMATE_SECONDS)


def _tell_estimate(context: dg.OpExecutionContext, engine: Engine, job: ExportJob) -> None:
    if job.request.recurring:
        return  # made from extracts: the source is not asked
    try:
        order = closed(reauthorize(engine, job, make_order(engine, job.request, job.created_at), None))
        found = estimate_order(engine, order, counting=False)
    except ExportError:
        return  # the export itself comes to the same end, and says why
    except Exception as error:  # in a thread, of which nobody else would hear
        context.log.warning(f"there is no estimate: {stack(error)}")
        return
    context.log.info(f"about {found.rows:,} rows, {found.bytes:,} bytes, {found.seconds:,.0f} s")
    for warning in found.warnings:
        context.log.warning(warning)
    metadata: dict[str, Any] = {
        "estimated_rows": found.rows,
        "estimated_bytes": found.bytes,
        "estimated_seconds": round(found.seconds, 1),
        "export_id": job.id,
    }
    if found.warnings:
        metadata["warnings"] = dg.MetadataValue.md("\n".join(f"- {warning}" for warning in found.warnings))
    context.log_event(dg.AssetObservation(export_asset_key(job.request.label), metadata=metadata))


def job_metadata(job: ExportJob) -> dict[str, Any]:
    """An export that was delivered, in numbers."""
    metadata: dict[str, Any] = {
        "dagster/row_count": job.rows or 0,
        "bytes": job.bytes or 0,
        "export_id": job.id,
        "format": job.request.format,
        "attempt": job.attempt,
    }
    if job.truncated:
        metadata["truncated"] = "rows beyond EXPORT_MAX_RECORDS were cut off, as was asked for"
    if job.started_at and job.completed_at:
        metadata["duration_seconds"] = (job.completed_at - job.started_at).total_seconds()
    if job.snapshot_at:
        metadata["snapshot_at"] = dg.MetadataValue.timestamp(job.snapshot_at)
    if job.expires_at:
        metadata["expires_at"] = dg.MetadataValue.timestamp(job.expires_at)
    if job.verification:
        metadata["verification"] = job.verification.value
    if job.masked:
        metadata["masked"] = dg.MetadataValue.json(dict(job.masked))
    for number, file in enumerate(job.files, start=1):
        suffix = f"_{number}" if number > 1 else ""
        metadata[f"sha256{suffix}"] = file.sha256
        metadata[f"address{suffix}"] = dg.MetadataValue.path(file.url)
    return metadata


def table_schema(columns: tuple[Column, ...]) -> dg.TableSchema:
    """Declared columns as Dagster shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=str(column.type),
                description=column.description,
                tags={"sensitivity": column.sensitivity.value},
            )
            for column in columns
        ]
    )


def described(dataset: Dataset) -> str:
    """A dataset for people, in Markdown: the catalogue of its columns and filters."""
    entry = entry_of(dataset)
    lines = [
        entry.description,
        "",
        "| column | type | sensitivity | | example |",
        "| --- | --- | --- | --- | --- |",
        *(
            _line(f"`{item.name}`", item.type, item.sensitivity, item.description, item.example)
            for item in entry.columns
        ),
        "",
        "| filter | takes | |",
        "| --- | --- | --- |",
        *(_line(f"`{item.name}`", item.takes, item.description) for item in entry.filters),
    ]
    return "\n".join(lines)


def _line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _schema(engine: Engine, job: ExportJob) -> Mapping[str, dg.TableSchema]:
    try:
        # Not all columns may have been for the requester, and some masked: the manifest says what the file has.
        made = read_manifest(engine.destination(job.request.destination), job)
    except ExportError:
        return {}
    columns = [
        Column(item["name"], parse_type(item["type"]), "", item["description"], Sensitivity(item["sensitivity"]))
        for item in made.get("columns", ())  # of a package each dataset has its own
    ]
    return {"dagster/column_schema": table_schema(tuple(columns))} if columns else {}


def _link(engine: Engine, job: ExportJob) -> Mapping[str, Any]:
    again = f"`export-pipeline link {job.id} --as EMAIL`"
    try:
        issued = issue_link(engine, job.request.requested_by, job.id)
    except ExportError:
        # The file is there; that no link could be made now is no failure of the export.
        return {"new_link": dg.MetadataValue.md(again)}
    links = {
        f"link_{number}" if number > 1 else "link": dg.MetadataValue.url(url)
        for number, url in enumerate(issued.urls.values(), start=1)
    }
    return {
        **links,
        "link_expires_at": dg.MetadataValue.timestamp(issued.expires_at),
        "new_link": dg.MetadataValue.md(again),
    }
