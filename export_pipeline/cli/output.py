"""How the command line shows things: one JSON object with `--json`, else tables and sentences for people."""

import json
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from export_pipeline.flow.links import Link
from export_pipeline.model.errors import ExportError
from export_pipeline.model.job import ExportJob, Status

console = Console(highlight=False)
messages = Console(stderr=True, highlight=False)


def print_json(document: dict[str, Any]) -> None:
    """Prints one JSON object."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2))


def job_document(job: ExportJob, link: Link | None = None) -> dict[str, Any]:
    """An export as one JSON object."""
    request = job.request
    return {
        "id": job.id,
        "dataset": request.dataset,
        "status": job.status.value,
        "format": request.format,
        "options": dict(request.options),
        "filters": dict(request.filters),
        "conditions": list(request.conditions),
        "sort": list(request.sort),
        "columns": list(request.columns),
        "destination": request.destination,
        "rows": job.rows,
        "truncated": job.truncated,
        "rows_done": job.rows_done,
        "rows_estimated": job.rows_estimated,
        "bytes": job.bytes,
        "files": [
            {"url": file.url, "bytes": file.bytes, "sha256": file.sha256, "rows": file.rows} for file in job.files
        ],
        "verification": job.verification.value if job.verification else None,
        "contact_info": request.contact_info,
        "masks": dict(request.masks),
        "masked": dict(job.masked),
        "recipient": request.recipient,
        "reason": request.reason,
        **link_document(link),
        "requested_by": request.requested_by,
        "attempt": job.attempt,
        "phase": job.phase.value if job.phase else None,
        "snapshot_at": _text(job.snapshot_at),
        "not_before": _text(request.not_before),
        "created_at": _text(job.created_at),
        "started_at": _text(job.started_at),
        "completed_at": _text(job.completed_at),
        "expires_at": _text(job.expires_at),
        "dagster_run_id": job.dagster_run_id,
        "error": job.error,
        "error_kind": job.error_kind,
    }


def link_document(link: Link | None) -> dict[str, Any]:
    """A link's part of a JSON object: `link` is the first file's, `links` are all, by the files' names."""
    return {
        "link": link.url if link else None,
        "links": dict(link.urls) if link else {},
        "link_expires_at": _text(link.expires_at if link else None),
    }


def error_document(error: ExportError) -> dict[str, Any]:
    """An error as one JSON object."""
    return {"error": str(error), "error_kind": error.kind.value}


def print_job(job: ExportJob, link: Link | None = None) -> None:
    """An export for people."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in _described(job, link):
        if value is not None:
            table.add_row(name, str(value))
    console.print(table)


def shown_moment(at: datetime | None) -> str | None:
    """A moment for people, in UTC."""
    return None if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def print_rows(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for people. What is in its first column, often an id, is never cut."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, header in enumerate(headers):
        table.add_column(header, no_wrap=place == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    _for_tables().print(table)


def _for_tables() -> Console:
    """A table that goes into a file or another program is not cut to the width of a terminal."""
    return Console(highlight=False, width=None if console.is_terminal or "COLUMNS" in os.environ else 1_000)


def print_records(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Rows of many columns for people: a table where it fits, else one value below the other."""
    shown = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, (header, *(row[place] for row in shown)))) for place, header in enumerate(headers)]
    if sum(widths) + 2 * len(widths) <= _for_tables().width:
        print_rows(headers, shown)
        return
    width = max(map(len, headers), default=0)
    for number, row in enumerate(shown, 1):
        console.print(f"[bold]row {number}[/bold]")
        for header, cell in zip(headers, row, strict=True):
            console.print(f"  {header:<{width}}  {cell}", markup=False)


def progress_bar() -> Progress:
    """A progress bar on a terminal; elsewhere it shows nothing and `show_progress` prints plain lines."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]}"),
        TimeElapsedColumn(),
        console=messages,
        transient=True,
        disable=not messages.is_terminal,
    )


def human_bytes(count: int | None) -> str:
    """A size for people, in decimal units."""
    size = float(count or 0)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"


def _described(job: ExportJob, link: Link | None) -> Iterable[tuple[str, object]]:
    files = job.files if job.status is Status.COMPLETED else ()
    yield "export", job.id
    yield "dataset", job.request.dataset
    yield (
        "status",
        job.status.value + (f" ({job.phase.value})" if job.status is Status.PROCESSING and job.phase else ""),
    )
    yield "error", job.error
    if files:
        yield "rows", f"{job.rows:,}"
        yield "truncated", "yes: rows beyond EXPORT_MAX_RECORDS were cut off" if job.truncated else None
        yield "bytes", f"{job.bytes:,} ({human_bytes(job.bytes)})"
        yield "seconds", seconds(job)
        yield "verification", job.verification.value if job.verification else None
        yield "masked", ", ".join(f"{name} ({policy})" for name, policy in job.masked.items()) or None
        for file in files:
            yield "SHA-256", file.sha256
            yield "address", file.url
        yield "expires", _text(job.expires_at)
    elif job.status is Status.PROCESSING:
        yield "rows so far", f"{job.rows_done:,} of about {job.rows_estimated or 0:,}"
    yield "requested by", job.request.requested_by
    yield "reason", job.request.reason or None
    yield "recipient", job.request.recipient or None
    yield "attempt", job.attempt
    yield "not before", _text(job.request.not_before)
    yield "Dagster run", job.dagster_run_id or None
    if link is not None:
        for url in link.urls.values():
            yield "link", url
        yield "link works until", _text(link.expires_at)


def seconds(job: ExportJob) -> str | None:
    """How long the attempt took, for people."""
    if job.started_at is None or job.completed_at is None:
        return None
    return f"{(job.completed_at - job.started_at).total_seconds():.1f}"


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
