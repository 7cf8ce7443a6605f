"""Commands about templates: exports that have a name, to be asked for again. Each is one call into `flow`."""

from datetime import datetime
from typing import Any

import click

from export_pipeline.cli.exports import as_option, follow, json_option, moment_of
from export_pipeline.cli.output import console, print_json, print_rows, shown_moment
from export_pipeline.cli.request_options import fields_of, request_options, run_options
from export_pipeline.flow import templates
from export_pipeline.flow.engine import Engine
from export_pipeline.model.access import Role
from export_pipeline.model.errors import Rejected
from export_pipeline.model.job import ExportRequest
from export_pipeline.model.template import EVERYONE, HELD, Template, document_of, sharing
from export_pipeline.services import open_services

_share_option = click.option(
    "--share", metavar="WITH", help="Who else may see and run it: none, everyone, or roles with commas between them."
)


@click.group()
def template() -> None:
    """Exports with a name, to be asked for again."""


@template.command()
@click.argument("name")
@click.argument("dataset")
@request_options
@_share_option
@as_option
@json_option
def create(name: str, dataset: str, *, share: str | None, email: str, as_json: bool, **asked: Any) -> None:
    """Save an export of DATASET as the template NAME.

    It is checked as if it were asked for now. Whoever runs it needs the rights to it themselves.
    """
    with open_services() as engine:
        request = ExportRequest(dataset, email, **fields_of(asked, engine.datasets.get(dataset)))
        made = templates.create_template(engine, email, name, request, shared=_shared(share) or ())
    _print(made, as_json)


@template.command(name="list")
@as_option
@json_option
def list_command(email: str, as_json: bool) -> None:
    """List the templates that you may see, with how often each was run."""
    with open_services() as engine:
        found = templates.list_templates(engine, email)
    if as_json:
        print_json({"templates": [_document(item) for item in found]})
        return
    print_rows(
        ("template", "dataset", "format", "owner", "shared with", "runs", "last run"),
        (
            (
                item.name,
                item.request.dataset,
                item.request.format,
                item.owner_email,
                _told(item.shared),
                item.runs,
                shown_moment(item.last_run_at),
            )
            for item in found
        ),
    )


@template.command()
@click.argument("name")
@as_option
@json_option
def show(name: str, email: str, as_json: bool) -> None:
    """Show a template. Where several people share one of that NAME, write OWNER/NAME."""
    with open_services() as engine:
        found = templates.show_template(engine, email, name)
    _print(found, as_json)


@template.command()
@click.argument("name")
@request_options
@click.option("--dataset", metavar="NAME", help="Another dataset.")
@click.option("--rename", metavar="NAME", help="What to call it from now on.")
@_share_option
@click.option(
    "--reset",
    multiple=True,
    type=click.Choice(templates.RESETTABLE),
    help="Set back to the default first, before what else is given.",
)
@click.option("--if-version", type=click.IntRange(1), help="Only if it still has this version.")
@as_option
@json_option
def edit(
    name: str,
    *,
    dataset: str | None,
    rename: str | None,
    share: str | None,
    reset: tuple[str, ...],
    if_version: int | None,
    email: str,
    as_json: bool,
    **asked: Any,
) -> None:
    """Change a template of yours. Filters, masks and options are changed by their names, conditions are added, and what
    else is given takes the place of what there was."""
    with open_services() as engine:
        changes = _changes(engine, email, name, asked, dataset)
        done = templates.edit_template(
            engine,
            email,
            name,
            changes,
            reset=reset,
            new_name=rename,
            shared=_shared(share),
            version=if_version,
        )
    _print(done, as_json)


@template.command()
@click.argument("name")
@as_option
@json_option
def delete(name: str, email: str, as_json: bool) -> None:
    """Delete a template. What was exported by it stays."""
    with open_services() as engine:
        gone = templates.delete_template(engine, email, name)
    if as_json:
        print_json({"deleted": gone.id, "name": gone.name})
    else:
        click.echo(f"deleted {gone.address}")


@template.command()
@click.argument("name")
@request_options
@run_options
@as_option
@json_option
def run(name: str, *, at: str | None, direct: bool, no_wait: bool, email: str, as_json: bool, **asked: Any) -> None:
    """Ask for what a template describes, with what else is given for this once, and wait for the file."""
    not_before = moment_of(at, direct=direct, no_wait=no_wait)
    with open_services() as engine:
        changes = _changes(engine, email, name, asked)
        if not_before:
            changes["not_before"] = not_before
        job = templates.run_template(engine, email, name, changes, claim_as="" if direct else None)
        follow(engine, job, email, as_json, direct=direct, no_wait=no_wait or not_before is not None)


COMMANDS = (template,)


def _changes(
    engine: Engine, email: str, name: str, asked: dict[str, Any], dataset: str | None = None
) -> dict[str, Any]:
    """The fields that are given, where filters are those of the dataset that is given or of the template's."""
    named = dataset or templates.show_template(engine, email, name).request.dataset
    return fields_of(asked, engine.datasets.get(named)) | ({"dataset": dataset} if dataset else {})


def _shared(text: str | None) -> tuple[str, ...] | None:
    try:
        return None if text is None else sharing(text)
    except ValueError:
        roles = ", ".join(role for role in Role if role is not Role.SERVICE)
        raise Rejected(
            f"--share {text!r} is neither none nor {EVERYONE}, nor roles with commas between them: {roles}"
        ) from None


def _told(shared: tuple[str, ...]) -> str:
    return ", ".join(shared) or "none"


def _document(item: Template) -> dict[str, Any]:
    return {
        "id": item.id,
        "name": item.name,
        "owner": item.owner_email,
        "shared": list(item.shared),
        "version": item.version,
        **document_of(item.request),
        "runs": item.runs,
        "last_run_at": _text(item.last_run_at),
        "created_at": _text(item.created_at),
        "updated_at": _text(item.updated_at),
    }


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _print(item: Template, as_json: bool) -> None:
    document = _document(item)
    if as_json:
        print_json(document)
        return
    usual = document_of(ExportRequest("", ""))
    shown = {name: document[name] for name in HELD if document[name] != usual[name]}
    rows = [
        ("template", item.address),
        ("shared with", _told(item.shared)),
        ("version", item.version),
        *((name, _line(value)) for name, value in shown.items()),
        ("runs", item.runs),
        ("last run", _text(item.last_run_at)),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        if value is not None:
            console.print(f"{name:<{width}}  {value}", markup=False, soft_wrap=True)


def _line(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={text}" for name, text in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
