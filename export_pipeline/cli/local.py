"""Commands that run everything on this machine: the embedded services, Dagster in the foreground, the demo."""

import time
from pathlib import Path
from urllib.parse import urlsplit

import click

from export_pipeline.cli.exports import json_option, wait_for
from export_pipeline.cli.output import console, human_bytes, print_json, print_rows, seconds
from export_pipeline.embedded import services as embedded
from export_pipeline.embedded.sample import SHOWN_CAMPAIGN, SHOWN_OWNER, load_sample
from export_pipeline.flow.links import issue_link
from export_pipeline.flow.request import file_request
from export_pipeline.ledger.schema import migrate_up
from export_pipeline.model.errors import Broken
from export_pipeline.model.job import ExportJob, ExportRequest, Status
from export_pipeline.services import open_services
from export_pipeline.settings import load_settings, state_folder

#: How many rows the demo shows.
_SHOWN_ROWS = 5
_SHOWN_COLUMNS = ("name", "phone", "call_status", "started_at", "duration_seconds", "cost_usd")


@click.group()
def services() -> None:
    """The embedded PostgreSQL and S3, on loopback."""


@services.command()
@json_option
def start(as_json: bool) -> None:
    """Start them, and keep them running."""
    embedded.start(state_folder())
    migrate_up(load_settings().database_url)
    _show_services(as_json)


@services.command()
@json_option
def stop(as_json: bool) -> None:
    """Stop them."""
    embedded.stop(state_folder())
    _show_services(as_json)


@services.command()
@json_option
def status(as_json: bool) -> None:
    """Tell where they are. With --json also the keys, for your own tools."""
    _show_services(as_json)


@click.command()
def up() -> None:
    """Run the embedded services and Dagster until Ctrl-C."""
    from export_pipeline.orchestration.local import running_dagster

    with embedded.running(state_folder()):
        _prepare()
        with running_dagster(web=True) as url:
            console.print(f"Dagster's web UI: [bold]{url}[/bold]   (Ctrl-C stops everything)")
            while True:
                time.sleep(3600)


@click.command()
def demo() -> None:
    """Show it all once: sample campaigns, one of them exported through Dagster, the file."""
    from export_pipeline.orchestration.local import running_dagster

    console.print("starting PostgreSQL and S3 …", style="dim")
    with embedded.running(state_folder()):
        _prepare()
        console.print("starting Dagster …", style="dim")
        # Not through a door, whoever runs one: the link that is shown has to work while nothing but the store does.
        presigning = load_settings(EXPORT_LINK_URL=None)
        with running_dagster(web=False), open_services(presigning) as engine:
            console.print(f"{SHOWN_OWNER} asks for the results of their campaign of May 2008", style="dim")
            request = ExportRequest(
                dataset="campaign_results", requested_by=SHOWN_OWNER, filters={"campaign_id": SHOWN_CAMPAIGN}
            )
            job = wait_for(engine, file_request(engine, request).id)
            if job.status is not Status.COMPLETED:
                raise Broken(f"the demo's export is {job.status.value}: {job.error}")
            link = issue_link(engine, SHOWN_OWNER, job.id)
            copy = download(link.url, state_folder() / "downloads", job)
    _show_result(job, link.url, copy)
    _show_next(job, SHOWN_OWNER)


COMMANDS = (services, up, demo)


def _prepare() -> None:
    settings = load_settings()
    migrate_up(settings.database_url)
    load_sample(settings.source)


def download(url: str, folder: Path, job: ExportJob) -> Path:
    """The export's file, fetched through its link into the folder as a person's browser would. Raises Broken, which
    does not tell the link."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import urlopen

    folder.mkdir(parents=True, exist_ok=True)
    target = folder / job.files[0].key.rpartition("/")[2]
    try:
        with urlopen(url, timeout=30) as response, target.open("wb") as file:  # noqa: S310 — an address that we made
            while chunk := response.read(1 << 20):
                file.write(chunk)
    except (OSError, HTTPException) as error:
        target.unlink(missing_ok=True)
        if isinstance(error, HTTPError):
            error.close()
        parts = urlsplit(url)
        raise Broken(
            f"the file of the export {job.id} could not be fetched from {parts.scheme}://{parts.netloc}: "
            f"{getattr(error, 'reason', error)}; the services' logs are in {state_folder()}"
        ) from error
    return target


def _show_result(job: ExportJob, url: str, copy: Path) -> None:
    import csv

    file = job.files[0]
    console.rule("[bold]exported")
    for name, value in (
        ("dataset", job.request.dataset),
        ("rows", f"{job.rows:,}"),
        ("bytes", f"{file.bytes:,} ({human_bytes(file.bytes)})"),
        ("seconds", seconds(job)),
        ("SHA-256", file.sha256),
        ("address", file.url),
        ("link", url),
        ("local copy", copy),
    ):
        console.print(f"[dim]{name:>11}[/dim]  ", end="")
        console.print(str(value), markup=False, soft_wrap=True)
    console.print("             (the link works while `make up` runs)\n", style="dim")
    with copy.open(encoding="utf-8-sig", newline="") as text:
        rows = [row for row, _ in zip(csv.DictReader(text), range(_SHOWN_ROWS), strict=False)]
    print_rows(_SHOWN_COLUMNS, ([row[name] for name in _SHOWN_COLUMNS] for row in rows))


def _show_next(job: ExportJob, owner: str) -> None:
    campaign = job.request.filters["campaign_id"]
    command = ".venv/bin/export-pipeline"
    console.print("\n[bold]What to try next[/bold]")
    for line in (
        "make up                                   # Dagster's web UI; press Launchpad on export_job",
        f"{command} export campaign_results --filter campaign_id={campaign} --format xlsx --as {owner}",
        f"{command} link {job.id} --as {owner}",
        f"{command} datasets campaign_results",
    ):
        console.print(f"  {line}", markup=False, soft_wrap=True)
    console.print("(the last three while `make up` runs in another terminal)", style="dim")


def _show_services(as_json: bool) -> None:
    found = embedded.status(state_folder())
    if as_json:
        print_json(found)
    else:
        console.print("running" if found["running"] else "not running")
        for name in ("s3_endpoint_url", "bucket"):
            if name in found:
                console.print(f"{name}: {found[name]}", markup=False)
        if found["running"]:
            console.print("`status --json` also tells the database's address and the keys", style="dim")
