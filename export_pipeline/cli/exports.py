"""Commands about exports: ask for one, show, link, cancel, retry. Each is one call into `flow`."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from export_pipeline.cli.output import (
    job_document,
    link_document,
    messages,
    print_job,
    print_json,
    progress_bar,
    shown_moment,
)
from export_pipeline.cli.request_options import fields_of, request_options, run_options
from export_pipeline.flow import manage
from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_to_the_end
from export_pipeline.flow.links import issue_link
from export_pipeline.flow.publish import MANIFEST
from export_pipeline.flow.request import file_request
from export_pipeline.flow.verify import verify_copy
from export_pipeline.model.errors import BY_KIND, Broken, ErrorKind, ExportError, Rejected
from export_pipeline.model.job import ExportJob, ExportRequest, Status
from export_pipeline.model.verification import Verification, Verify
from export_pipeline.services import load_formats, open_services
from export_pipeline.settings import load_settings

_ENDED = {Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.EXPIRED}
_POLL_SECONDS = 0.1
#: After so long without a worker, say what is probably missing (seconds).
_HINT_SECONDS = 20

as_option = click.option("--as", "email", required=True, metavar="EMAIL", help="Who asks.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command()
@click.argument("dataset")
@request_options
@run_options
@as_option
@json_option
def export(
    dataset: str,
    *,
    at: str | None,
    direct: bool,
    no_wait: bool,
    email: str,
    as_json: bool,
    **asked: Any,
) -> None:
    """Export DATASET, and wait for the file.

    Several datasets go into one package or workbook: `contacts,calls --format zip`, each perhaps with its formats as in
    `contacts:csv+parquet`, one perhaps twice as in `calls as done,calls as rest`; or name a ready-made package. See
    `datasets`.
    """
    not_before = moment_of(at, direct=direct, no_wait=no_wait)
    with open_services() as engine:
        fields = fields_of(asked, engine.datasets.get(dataset))
        request = ExportRequest(dataset=dataset, requested_by=email, not_before=not_before, **fields)
        job = file_request(engine, request, claim_as="" if direct else None)
        follow(engine, job, email, as_json, direct=direct, no_wait=no_wait or not_before is not None)


def follow(engine: Engine, job: ExportJob, email: str, as_json: bool, *, direct: bool, no_wait: bool) -> None:
    """Runs a filed export here, or waits until it has ended, unless nobody is to wait for it; and prints it. Raises the
    error that it ended with, if any."""
    if direct:
        finish(engine, _run_here(engine, job), email, as_json)
    elif no_wait:
        show_job(manage.show_export(engine, email, job.id), as_json)
    else:
        finish(engine, wait_for(engine, job.id), email, as_json)


@click.command()
@click.argument("export_id", metavar="ID")
@as_option
@json_option
def show(export_id: str, email: str, as_json: bool) -> None:
    """Show one export."""
    with open_services() as engine:
        show_job(manage.show_export(engine, email, export_id), as_json)


@click.command()
@click.argument("export_id", metavar="ID")
@as_option
@json_option
def link(export_id: str, email: str, as_json: bool) -> None:
    """Make a new download link. Whoever has it has the data, until it expires."""
    with open_services() as engine:
        issued = issue_link(engine, email, export_id)
    if as_json:
        print_json({"id": export_id, **link_document(issued)})
    else:
        click.echo("\n".join(issued.urls.values()))
        messages.print(f"works until {shown_moment(issued.expires_at)}")


@click.command()
@click.argument("export_id", metavar="ID")
@as_option
@json_option
def cancel(export_id: str, email: str, as_json: bool) -> None:
    """Cancel an export that waits or runs."""
    with open_services() as engine:
        manage.cancel_export(engine, email, export_id)
        job = _poll(engine, export_id, lambda job: job.status in _ENDED, timeout_seconds=10)
        show_job(manage.show_export(engine, email, export_id), as_json)
        if job.status is not Status.CANCELLED:
            raise Broken(f"the export {export_id} is {job.status.value}; its worker has not answered yet")


@click.command()
@click.argument("export_id", metavar="ID")
@click.option("--reason", default="", help="Why, for the audit log.")
@as_option
@json_option
def expire(export_id: str, reason: str, email: str, as_json: bool) -> None:
    """Delete an export's files now, before their time: every link to them leads nowhere then. What is known about the
    export stays."""
    with open_services() as engine:
        manage.end_export(engine, email, export_id, reason=reason)
    # No more than that: whoever answers for the rules may end an export, and not see what it was filtered by.
    if as_json:
        print_json({"id": export_id, "status": Status.EXPIRED.value})
    else:
        click.echo(f"{export_id}: expired, its files are deleted")


@click.command()
@click.argument("export_id", metavar="ID")
@click.option("--direct", is_flag=True, help="Run it in this process, without Dagster's daemon.")
@click.option("--no-wait", is_flag=True, help="Return at once.")
@as_option
@json_option
def retry(export_id: str, direct: bool, no_wait: bool, email: str, as_json: bool) -> None:
    """Try a failed or cancelled export again: the same row, its next attempt."""
    with open_services() as engine:
        job = manage.retry_export(engine, email, export_id)
        follow(engine, job, email, as_json, direct=direct, no_wait=no_wait)


@click.command()
@click.argument("target", metavar="ID|FILE")
@click.option("--manifest", type=click.Path(path_type=Path), help="The file's manifest. Default: beside it.")
@click.option(
    "--extent",
    type=click.Choice([Verify.FULL.value, Verify.SAMPLE.value]),
    help="How much is compared. Default: what is usual for the format.",
)
@click.option("--as", "email", metavar="EMAIL", help="Who asks; for an ID.")
@json_option
def verify(target: str, manifest: Path | None, extent: str | None, email: str | None, as_json: bool) -> None:
    """Prove again that an export's files hold what was read from the source: those at the destination, by ID, or a FILE
    that you hold, with its manifest. Ends with 5 where they do not. Where nothing was added up (`off`), their bytes are
    compared with those that were delivered."""
    chosen = Verify(extent) if extent else None
    if Path(target).is_file():
        path = Path(target)
        beside = manifest or path.with_name(MANIFEST)
        rows, proven = verify_copy(path, beside, load_formats(), password=_password_of, extent=chosen)
    elif email is None:
        raise Rejected(f"there is no file {target}; to verify an export by its id, say who asks with --as EMAIL")
    else:
        with open_services() as engine:
            rows, proven = manage.verify_export(engine, email, target, chosen)
    if as_json:
        print_json({"target": target, "rows": rows, "verification": proven.value})
    else:
        only = " (nothing was added up: its bytes are those that were delivered)" if proven is Verification.OFF else ""
        click.echo(f"{target}: {rows:,} rows, {proven.value}{only}")


def _password_of(name: str) -> bytes | None:
    # No database is needed to verify a file that lies here.
    return load_settings(DATABASE_URL="postgresql://unused").zip_password(name)


COMMANDS = (export, show, link, cancel, expire, retry, verify)


def show_job(job: ExportJob, as_json: bool) -> None:
    """Prints an export."""
    if as_json:
        print_json(job_document(job))
    else:
        print_job(job)


def finish(engine: Engine, job: ExportJob, email: str, as_json: bool) -> None:
    """Prints how an export ended, with a link where there is a file. Raises the error that it ended with, if any."""
    shown = manage.show_export(engine, email, job.id)
    if job.status is not Status.COMPLETED:
        if as_json:
            print_json(job_document(shown))
            raise SystemExit(error_of(job).exit_code)
        raise error_of(job)
    issued = issue_link(engine, email, job.id)
    if as_json:
        print_json(job_document(shown, issued))
    else:
        print_job(shown, issued)


def error_of(job: ExportJob) -> ExportError:
    """The error that a row which ended without a file stands for."""
    kind = ErrorKind.CANCELLED if job.status is Status.CANCELLED else ErrorKind(job.error_kind or ErrorKind.BROKEN)
    return BY_KIND[kind](job.error or f"the export {job.id} was {job.status.value}")


def wait_for(engine: Engine, export_id: str) -> ExportJob:
    """Waits until a filed export has ended, showing its progress."""
    started = time.monotonic()
    hinted = False
    with progress_bar() as bar:
        task = bar.add_task("waiting for Dagster", total=None, rows="")

        def ended(job: ExportJob) -> bool:
            nonlocal hinted
            if job.status is Status.PENDING and not hinted and time.monotonic() - started > _HINT_SECONDS:
                hinted = True
                messages.print("no worker has taken it yet: is Dagster's daemon running (`export-pipeline up`)?")
            if job.status is Status.PROCESSING and job.phase:
                total = max(job.rows_estimated or 0, job.rows_done) or None
                bar.update(
                    task,
                    description=job.phase.value,
                    total=total,
                    completed=job.rows_done,
                    rows=f"{job.rows_done:,} rows",
                )
            return job.status in _ENDED

        try:
            return _poll(engine, export_id, ended)
        except KeyboardInterrupt:
            messages.print(f"the export goes on: see `show {export_id}`, stop it with `cancel {export_id}`")
            raise click.exceptions.Abort from None


def _poll(
    engine: Engine, export_id: str, until: Callable[[ExportJob], bool], timeout_seconds: float | None = None
) -> ExportJob:
    started = time.monotonic()
    while True:
        job = engine.jobs.get(export_id)
        if job is None:
            raise Broken(f"the row of the export {export_id} is gone")
        if until(job) or (timeout_seconds and time.monotonic() - started > timeout_seconds):
            return job
        time.sleep(_POLL_SECONDS)


def _run_here(engine: Engine, job: ExportJob) -> ExportJob:
    """Runs the export in this process; Dagster hears of it by itself. Returns the row however it ended."""
    with progress_bar() as bar:
        task = bar.add_task("planning", total=None, rows="")

        def observe(attempt: Attempt) -> None:
            total = max(attempt.rows_estimated or 0, attempt.rows_done) or None
            rows = f"{attempt.rows_done:,} rows"
            bar.update(task, description=attempt.phase.value, total=total, completed=attempt.rows_done, rows=rows)
            if not messages.is_terminal:
                messages.print(f"{attempt.phase.value}: {rows}, {attempt.bytes_done:,} bytes")

        try:
            return run_to_the_end(engine, job, observer=observe)
        except (ExportError, KeyboardInterrupt):
            ended = engine.jobs.get(job.id)
            if ended is None or ended.status not in _ENDED:
                raise
            return ended


def moment_of(at: str | None, *, direct: bool, no_wait: bool) -> datetime | None:
    """The moment before which the export shall not run. Raises Rejected, also where it cannot be waited for."""
    if direct and (no_wait or at):
        raise Rejected("--direct runs the export now and in this process: it goes with neither --no-wait nor --at")
    return parse_moment(at, "--at") if at else None


def parse_moment(text: str, option: str) -> datetime:
    """A moment, in UTC where it does not say. Raises Rejected."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Rejected(f"{option} {text!r} is not a moment such as 2026-11-21T03:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
