"""Writes the reference pages of this folder from what the code declares: `make docs`, checked by `make check`.

A page is one function from nothing to Markdown; PAGES lists them. Pages written by hand are not touched.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from export_pipeline.flow.catalogue import OPERATORS, entry_of
from export_pipeline.model.access import SIGHTS, Role, Scope, Sensitivity, Sight
from export_pipeline.model.dataset import Dataset
from export_pipeline.model.destination import DestinationType
from export_pipeline.model.format import Format
from export_pipeline.model.package import Member, Package
from export_pipeline.registry import load_parts
from export_pipeline.settings import Settings

FOLDER = Path(__file__).parent
NOTICE = "<!-- Written by `make docs`. Change the code, not this page. -->"
REACH = {Scope.OWN: "their own rows", Scope.ALL: "all rows"}


def settings_page() -> str:
    """Every environment variable that the project reads."""
    rows = [(f"`{field.alias}`", _default(field), field.description or "") for field in Settings.model_fields.values()]
    return _page(
        "Settings",
        "All settings come from the environment. While the embedded services run in the working directory, the "
        "database and the bucket default to theirs; setting `DATABASE_URL` or `S3_BUCKET_NAME` leaves them for yours "
        "(see [Your own database and bucket](own-database-and-bucket.md)). While `up` runs, `EXPORT_LINK_URL` is its "
        "door's, unless one of these or `EXPORT_DIRECTORY` is set. A missing or wrong setting is reported in "
        "one sentence that names it.",
        _table(("Variable", "Default", "Meaning"), rows),
        "`EXPORT_STATE_DIRECTORY` (default `.export_pipeline` in the working directory) is the folder in which the "
        "embedded services and the local Dagster keep their state.",
    )


def datasets_page() -> str:
    """Every dataset, with who may have it; each has a page of its own."""
    rows = [
        (f"[`{name}`](datasets/{name}.md)", dataset.description, ", ".join(_roles(dataset)))
        for name, dataset in _DATASETS.items()
    ]
    return _page(
        "Datasets",
        "What can be exported. A dataset is one file: to add one, copy a file of `export_pipeline/datasets/`, or put "
        "it into a folder of your own and name that folder in `EXPORT_DATASETS_PATH`.",
        "Filters that take a list take several values with commas between them (a value that holds a comma in double "
        "quotes), or are given several times on the command line. Columns that a role may not see are masked "
        "or left out of its files, which the manifest tells; filtering by one is refused, and so is asking by name for "
        "one that is left out (see [What may leave](what-may-leave.md)). Every column can also be filtered by a "
        "condition and ordered by: see [Filters, conditions and order](filters.md).",
        _table(("Dataset", "What it holds", "Who may have it"), rows),
        "Columns can be chosen, put in order, renamed and computed: see [Columns and "
        "templates](columns-and-templates.md). Conditions (`--where`) take these operators:",
        _table(
            ("Columns of type", "Operators"),
            [(kind.value, ", ".join(f"`{name}`" for name in names)) for kind, names in OPERATORS.items()],
        ),
        "## Packages",
        "Several datasets in one file: see [Packages, parts and proofs](packages.md). These are ready-made, and are "
        "asked for by their name with `--format zip`:",
        _table(
            ("Package", "What it holds", "Datasets and formats"),
            [
                (f"`{name}`", package.description, ", ".join(_member(item) for item in package.members))
                for name, package in load_parts("export_pipeline.packages", "PACKAGE", Package).items()
            ],
        ),
    )


def _member(item: Member) -> str:
    return f"`{item.dataset}` as {' and '.join(item.formats) or 'asked for'}"


def dataset_page(dataset: Dataset) -> str:
    """A dataset's columns, filters and access."""
    return _page(f"`{dataset.name}`: {dataset.title}", _dataset(dataset))


def formats_page() -> str:
    """Every format with its options."""
    formats = load_parts("export_pipeline.formats", "FORMAT", Format).values()
    return _page(
        "Formats",
        "What a file can be written as. Options are given as `--option name=value`. To add a format, put one file into "
        "`export_pipeline/formats/`.",
        *(
            "\n\n".join(
                [
                    f"## `{part.name}`: {part.title}",
                    part.description,
                    f"Files end in `.{part.extension.removeprefix('.')}`; the media type is `{part.media_type}`.",
                    _options(part.options),
                ]
            )
            for part in formats
        ),
    )


def destinations_page() -> str:
    """Every destination."""
    destinations = load_parts("export_pipeline.destinations", "DESTINATION", DestinationType).values()
    return _page(
        "Destinations",
        "Where a file can be delivered. To add a destination, put one file into `export_pipeline/destinations/`.",
        *(f"## `{part.name}`: {part.title}\n\n{part.description}" for part in destinations),
    )


def command_line_page() -> str:
    """Every command with its arguments and options."""
    from export_pipeline.cli.main import commands

    return _page(
        "Command line",
        "`export-pipeline --help` prints the same. Every command that prints takes `--json`, and then prints exactly "
        "one JSON object to standard output. Every command that acts on an export takes `--as EMAIL`: the person, as "
        "in the source's `users` table, on whose behalf it acts and whose rights are checked.",
        _table(
            ("Exit code", "Meaning"),
            [
                ("0", "done"),
                ("2", "invalid request"),
                ("3", "forbidden"),
                ("4", "not found"),
                ("5", "failed"),
                ("6", "cancelled"),
            ],
        ),
        *_commands(commands, "export-pipeline"),
    )


_DATASETS = load_parts("export_pipeline.datasets", "DATASET", Dataset)

PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "datasets.md": datasets_page,
    **{f"datasets/{name}.md": partial(dataset_page, dataset) for name, dataset in _DATASETS.items()},
    "formats.md": formats_page,
    "destinations.md": destinations_page,
    "command-line.md": command_line_page,
}


def _dataset(dataset: Dataset) -> str:
    entry = entry_of(dataset)
    columns = [
        (f"`{item.name}`", item.type, item.sensitivity, item.mask, item.description, item.example)
        for item in entry.columns
    ]
    filters = [
        (f"`{item.name}`", item.takes, "yes" if item.required else "no", item.description) for item in entry.filters
    ]
    people = [role for role in Role if role is not Role.SERVICE]
    access = [(role.value, _reach(dataset, role)) for role in people]
    parts = [
        dataset.description,
        _table(("Column", "Type", "Sensitivity", "Masked as", "Meaning", "Example"), columns),
        _table(("Filter", "Type", "Required", "Meaning"), filters),
        _table(("Role", "Reaches"), access),
    ]
    if dataset.cursor:
        deletions = dataset.cursor.deletions
        parts.append(
            "What is new or changed can be asked for by itself, with `--since last`"
            + (f"; deleted rows are told by their `{deletions.column}`" if deletions else "")
            + ": see [Incremental exports](../incremental.md)."
        )
    if dataset.tables:
        parts.append("Reads " + ", ".join(f"`{table}`" for table in dataset.tables) + ".")
    return "\n\n".join(parts)


def _roles(dataset: Dataset) -> list[str]:
    return [
        f"{role.value}{' (own)' if scope is Scope.OWN else ''}"
        for role, scope in dataset.access.items()
        if role is not Role.SERVICE
    ]


def _reach(dataset: Dataset, role: Role) -> str:
    scope = dataset.access.get(role)
    if scope is None:
        return "nothing"
    here = {column.sensitivity for column in dataset.columns}
    told = [
        f"{item} columns {'masked' if found is Sight.MASKED else 'left out'}"
        for item, found in SIGHTS[scope][role].items()
        if item in here and found is not Sight.PLAIN
    ]
    if SIGHTS[scope][role][Sensitivity.PERSONAL] is not Sight.PLAIN and any(item.free_text for item in dataset.columns):
        told.append("free text redacted")
    return "; ".join([REACH[scope], *told])


def _options(options: type[BaseModel]) -> str:
    rows = [
        (f"`{name}`", _type(field), _default(field), field.description or "")
        for name, field in options.model_fields.items()
    ]
    return _table(("Option", "Values", "Default", "Meaning"), rows) if rows else "It has no options."


def _commands(group: click.Group, path: str) -> Iterable[str]:
    for name, command in sorted(group.commands.items()):
        full = f"{path} {name}"
        if isinstance(command, click.Group):
            yield from _commands(command, full)
        elif not command.hidden:
            yield _command(command, full)


def _command(command: click.Command, path: str) -> str:
    arguments = [
        item.make_metavar(click.Context(command)) for item in command.params if isinstance(item, click.Argument)
    ]
    options = [item for item in command.params if isinstance(item, click.Option) and not item.hidden]
    rows = [(f"`{_spelling(item)}`", "yes" if item.required else "no", item.help or "") for item in options]
    parts = [f"## `{' '.join([path, *arguments])}`", (command.help or "").strip()]
    return "\n\n".join([*parts, _table(("Option", "Required", "Meaning"), rows)] if rows else parts)


def _spelling(option: click.Option) -> str:
    names = ", ".join(option.opts)
    return names if option.is_flag else f"{names} {option.make_metavar(click.Context(click.Command('')))}"


def _type(field: FieldInfo) -> str:
    return ", ".join(_names(field.annotation))


def _names(annotation: Any) -> list[str]:
    """The values of a Literal, else the names of the types; that an option may be left out is not told."""
    if get_origin(annotation) is Literal:
        return [f"`{value}`" for value in get_args(annotation)]
    if inner := get_args(annotation):
        return [name for part in inner if part is not NoneType for name in _names(part)]
    return [annotation.__name__]


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    return "" if field.default is None else f"`{field.default!s}`"


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", NOTICE, *parts]) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


def main() -> int:
    """Writes the pages, or with `--check` names those that are out of date and returns 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page is out of date")
    check = parser.parse_args().check
    stale = 0
    for name, page in PAGES.items():
        text, path = page(), FOLDER / name
        if _same(path, text):
            continue
        stale += 1
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        print(f"docs/{name} {'is out of date: run `make docs`' if check else 'written'}")
    return 1 if check and stale else 0


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
