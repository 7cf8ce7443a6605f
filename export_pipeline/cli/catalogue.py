"""Commands that tell what can be exported, by whom and how."""

import click

from export_pipeline.cli.exports import json_option
from export_pipeline.cli.output import console, print_json, print_rows
from export_pipeline.flow.catalogue import entry_of, functions
from export_pipeline.model.access import Role
from export_pipeline.model.dataset import Dataset
from export_pipeline.model.errors import Rejected
from export_pipeline.model.format import Format
from export_pipeline.model.package import Package
from export_pipeline.services import load_datasets, load_formats, load_packages
from export_pipeline.settings import Settings, load_settings


@click.command()
@click.argument("name", required=False)
@json_option
def datasets(name: str | None, as_json: bool) -> None:
    """List the datasets and packages, or show one: a dataset's columns, its filters, and who may have it."""
    found = load_datasets(_settings())
    chosen = found if name is None else {name: found[name]} if name in found else {}
    packages = [item for item in load_packages().values() if name in (None, item.name)]
    if not chosen and not packages:
        raise Rejected(f"there is no dataset {name!r}; there are: {', '.join(found)}")
    if as_json:
        print_json(
            {
                "datasets": [entry_of(dataset).document for dataset in chosen.values()],
                "functions": functions(),
                "packages": [
                    {"name": item.name, "title": item.title, "description": item.description, "members": _members(item)}
                    for item in packages
                ],
            }
        )
        return
    if name is None or not chosen:
        print_rows(
            ("dataset", "title", "columns", "who"),
            ((item.name, item.title, len(item.columns), _access(item)) for item in chosen.values()),
        )
        console.print()
        print_rows(
            ("package", "title", "what is in it"), ((item.name, item.title, _members(item)) for item in packages)
        )
        return
    entry = entry_of(found[name])
    console.print(f"[bold]{entry.title}[/bold]\n{entry.description}\nWho: {_access(found[name])}\n")
    print_rows(
        ("column", "type", "sensitivity", "description", "example"),
        ((item.name, item.type, item.sensitivity, item.description, item.example) for item in entry.columns),
    )
    console.print()
    print_rows(
        ("filter", "type", "required", "description"),
        ((item.name, item.takes, "yes" if item.required else "", item.description) for item in entry.filters),
    )
    console.print()
    operators = {item.type.partition("(")[0]: " ".join(item.operators) for item in entry.columns}
    print_rows(("columns of type", "operators of --where"), operators.items())
    console.print()
    print_rows(("function of --columns", "yields"), ((item["example"], item["description"]) for item in functions()))


@click.command()
@click.argument("name", required=False)
@json_option
def formats(name: str | None, as_json: bool) -> None:
    """List the formats, or show one: its options, and what they default to."""
    found = load_formats()
    if name is not None and name not in found:
        raise Rejected(f"there is no format {name!r}; there are: {', '.join(found)}")
    chosen = list(found.values()) if name is None else [found[name]]
    if as_json:
        print_json({"formats": [_format_document(form) for form in chosen]})
    elif name is None:
        print_rows(("format", "title", "description"), ((item.name, item.title, item.description) for item in chosen))
    else:
        console.print(f"[bold]{chosen[0].title}[/bold]\n{chosen[0].description}\n")
        print_rows(
            ("option", "default", "description"),
            (
                (option, field.default, field.description or "")
                for option, field in chosen[0].options.model_fields.items()
            ),
        )


COMMANDS = (datasets, formats)


def _members(package: Package) -> str:
    """As somebody would ask for its datasets one by one."""
    return ",".join(":".join((item.dataset, "+".join(item.formats))).rstrip(":") for item in package.members)


def _format_document(form: Format) -> dict[str, object]:
    return {
        "name": form.name,
        "title": form.title,
        "description": form.description,
        "extension": form.extension,
        "media_type": form.media_type,
        "options": form.options.model_json_schema()["properties"],
    }


def _settings() -> Settings:
    # No database is asked for a list of datasets, so none needs to be set.
    return load_settings(DATABASE_URL="postgresql://unused")


def _access(dataset: Dataset) -> str:
    return ", ".join(f"{role} ({scope})" for role, scope in dataset.access.items() if role is not Role.SERVICE)
