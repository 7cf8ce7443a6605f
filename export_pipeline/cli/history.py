"""Commands about what was exported: the list of exports, how often what is used."""

from datetime import datetime, timedelta

import click

from export_pipeline.cli.exports import as_option, json_option, parse_moment
from export_pipeline.cli.output import job_document, print_json, print_rows, shown_moment
from export_pipeline.flow.history import Wanted, list_exports, usage
from export_pipeline.model.job import Status
from export_pipeline.services import open_services

_from_option = click.option("--from", "since", metavar="TIME", help="Asked for at this moment or later (ISO 8601).")
_to_option = click.option(
    "--to", "until", metavar="TIME", help="Asked for before this moment; a plain date is the whole day."
)


@click.command(name="list")
@click.option("--by", metavar="EMAIL", help="Only of this person (administrators).")
@click.option("--dataset", help="Only of this dataset, alone or in a package.")
@click.option("--status", type=click.Choice([status.value for status in Status]), help="Only these.")
@click.option("--template", metavar="ID", help="Only of this template.")
@click.option("--error", metavar="TEXT", help="Only those whose error says this.")
@_from_option
@_to_option
@click.option("--before", metavar="ID", help="Only older ones than this: the last of the page before.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="The most to list.")
@as_option
@json_option
def list_command(  # noqa: PLR0917 — click passes them by name
    by: str | None,
    dataset: str | None,
    status: str | None,
    template: str | None,
    error: str | None,
    since: str | None,
    until: str | None,
    before: str | None,
    limit: int,
    email: str,
    as_json: bool,
) -> None:
    """List the newest exports: your own, or all for an administrator."""
    wanted = Wanted(
        by=by,
        dataset=dataset,
        status=Status(status) if status else None,
        template_id=template,
        since=parse_moment(since, "--from") if since else None,
        until=_end(until) if until else None,
        error=error,
        before=before,
    )
    with open_services() as engine:
        jobs = list_exports(engine, email, wanted, limit=limit)
    if as_json:
        more = jobs[-1].id if len(jobs) == limit else None
        print_json({"exports": [job_document(job) for job in jobs], "next_before": more})
        return
    print_rows(
        ("export", "dataset", "format", "status", "rows", "created", "by"),
        (
            (
                job.id,
                job.request.dataset,
                job.request.format,
                job.status.value,
                job.rows if job.files else job.rows_done or None,
                shown_moment(job.created_at),
                job.request.requested_by,
            )
            for job in jobs
        ),
    )
    if len(jobs) == limit:
        click.echo(f"older ones: --before {jobs[-1].id}")


@click.command(name="usage")
@_from_option
@_to_option
@as_option
@json_option
def usage_command(since: str | None, until: str | None, email: str, as_json: bool) -> None:
    """Tell how often each dataset, format and template is used, and by how many: by you, or by everybody for compliance
    and administrators."""
    with open_services() as engine:
        found = usage(
            engine,
            email,
            since=parse_moment(since, "--from") if since else None,
            until=_end(until) if until else None,
        )
    if as_json:
        print_json({"usage": [vars(use) | {"last_at": use.last_at.isoformat()} for use in found]})
        return
    print_rows(
        ("what", "name", "exports", "delivered", "people", "rows", "last"),
        (
            (
                use.kind,
                use.name,
                f"{use.exports:,}",
                f"{use.delivered:,}",
                use.people,
                f"{use.rows:,}",
                shown_moment(use.last_at),
            )
            for use in found
        ),
    )


COMMANDS = (list_command, usage_command)


def _end(text: str) -> datetime:
    moment = parse_moment(text, "--to")
    return moment + timedelta(days=1) if len(text) == len("2026-11-21") else moment
