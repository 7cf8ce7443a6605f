"""Commands for when a person asks to be forgotten: which exports hold them, and the end of those."""

import click

from export_pipeline.cli.exports import as_option, json_option
from export_pipeline.cli.output import messages, print_json, print_rows
from export_pipeline.flow.subjects import SubjectReport, expire_subject, find_subject
from export_pipeline.services import open_services


@click.group()
def subject() -> None:
    """People in export files, for compliance and administrators; needs EXPORT_SUBJECT_KEY.

    SUBJECT is a phone number with its country's code, an e-mail address, or an id.
    """


@subject.command()
@click.argument("subject")
@click.option("--reason", default="", metavar="TEXT", help="Why: a sentence or a ticket, for the audit log.")
@as_option
@json_option
def find(subject: str, reason: str, email: str, as_json: bool) -> None:
    """List the live exports that hold SUBJECT, and who took them out. Ends with 5 where not all could be looked at."""
    with open_services() as engine:
        _show(find_subject(engine, email, subject, reason=reason), as_json)


@subject.command()
@click.argument("subject")
@click.option("--reason", required=True, metavar="TEXT", help="Why: a sentence or a ticket, for the audit log.")
@as_option
@json_option
def expire(subject: str, reason: str, email: str, as_json: bool) -> None:
    """Delete the files of all live exports that hold SUBJECT; their links then lead nowhere. Ends with 5 where not all
    could be looked at or deleted."""
    with open_services() as engine:
        _show(expire_subject(engine, email, subject, reason=reason), as_json)


COMMANDS = (subject,)


def _show(report: SubjectReport, as_json: bool) -> None:
    if as_json:
        print_json(_document(report))
    else:
        _print(report)
    if report.errors or report.without_index or report.running:
        raise SystemExit(5)


def _document(report: SubjectReport) -> dict[str, object]:
    return {
        "searched": report.searched,
        "exports": [
            {
                "id": holding.job.id,
                "dataset": holding.job.request.dataset,
                "format": holding.job.request.format,
                "destination": holding.job.request.destination,
                "requested_by": holding.job.request.requested_by,
                "links_to": list(holding.links_to),
                "link_uses": holding.link_uses,
                "completed_at": holding.job.completed_at.isoformat() if holding.job.completed_at else None,
                "expires_at": holding.job.expires_at.isoformat() if holding.job.expires_at else None,
                "files": [file.url for file in holding.job.files],
            }
            for holding in report.holdings
        ],
        "expired": report.expired,
        "without_index": report.without_index,
        "running": report.running,
        "errors": report.errors,
    }


def _print(report: SubjectReport) -> None:
    print_rows(
        ("export", "dataset", "format", "by", "links to", "uses", "completed", "now"),
        (
            (
                holding.job.id,
                holding.job.request.dataset,
                holding.job.request.format,
                holding.job.request.requested_by,
                ", ".join(holding.links_to),
                holding.link_uses,
                f"{holding.job.completed_at:%Y-%m-%d}" if holding.job.completed_at else "",
                "expired" if holding.job.id in report.expired else "live",
            )
            for holding in report.holdings
        ),
    )
    click.echo(
        f"{len(report.holdings)} of {report.searched:,} exports searched hold the person; {len(report.expired)} expired"
    )
    for told, ids in (
        ("could not be searched, as they have no index that a key of ours opens", report.without_index),
        ("are being made now; look again when they are done", report.running),
    ):
        if ids:
            messages.print(f"{len(ids)} {told}: {', '.join(ids)}", markup=False)
    for error in report.errors:
        messages.print(f"not done: {error}", markup=False)
