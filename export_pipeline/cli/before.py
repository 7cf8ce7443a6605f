"""Commands for before an export: how its file would begin, what it would come to, what there is. Those about a request
take the options of `export`.
"""

import json
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import click

from export_pipeline.cli.exports import as_option, json_option
from export_pipeline.cli.output import console, human_bytes, messages, print_json, print_records, print_rows
from export_pipeline.cli.request_options import fields_of, request_options
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.estimate import Basis, Estimate, PartEstimate, estimate_export
from export_pipeline.flow.preview import MOST_ROWS, ROWS, Part, preview_export
from export_pipeline.flow.stats import DatasetStats, dataset_stats
from export_pipeline.model.job import ExportRequest
from export_pipeline.services import open_services

#: So many characters of a value are shown to people.
_SHOWN = 60


@click.command(name="preview")
@click.argument("dataset")
@request_options
@click.option("--rows", default=ROWS, show_default=True, type=click.IntRange(1, MOST_ROWS), help="How many rows.")
@as_option
@json_option
def preview_command(dataset: str, rows: int, email: str, as_json: bool, **asked: Any) -> None:
    """Show how the file of an export of DATASET would begin: its first rows as they would be written, for text the
    file's own. Nothing is stored."""
    with open_services() as engine:
        parts = preview_export(engine, _request(engine, dataset, email, asked), rows=rows)
    if as_json:
        print_json({"parts": [_part_document(part) for part in parts]})
        return
    for part in parts:
        if len(parts) > 1:
            messages.print(f"{part.name}:", markup=False)
        if part.text is not None:
            click.echo(part.text.removeprefix("\ufeff"), nl=not part.text.endswith("\n"))
        else:
            headers = tuple(column.name for column in part.columns)
            print_records(headers, ([_short(value) for value in row] for row in part.rows))
        if part.left_out:
            left = ", ".join(column.name for column in part.left_out)
            messages.print(f"left out, as not for your role: {left}", markup=False)


@click.command(name="estimate")
@click.argument("dataset")
@request_options
@as_option
@json_option
def estimate_command(dataset: str, email: str, as_json: bool, **asked: Any) -> None:
    """Tell what an export of DATASET would come to: rows, size in each format, duration, and what to mind."""
    with open_services() as engine:
        found = estimate_export(engine, _request(engine, dataset, email, asked))
    if as_json:
        print_json(
            {
                "rows": found.rows,
                "bytes": found.bytes,
                "seconds": round(found.seconds, 1),
                "parts": [asdict(part) for part in found.parts],
                "warnings": list(found.warnings),
            }
        )
        return
    _print_estimate(found)


@click.command(name="stats")
@click.argument("dataset", required=False)
@as_option
@json_option
def stats_command(dataset: str | None, email: str, as_json: bool) -> None:
    """Tell what there is to export, of DATASET or of all that you may have: rows, first and last date, states."""
    with open_services() as engine:
        found = dataset_stats(engine, email, dataset)
    if as_json:
        print_json({"datasets": [_stats_document(item) for item in found]})
        return
    print_rows(
        ("dataset", "rows", "whose", "first", "last", "by status"),
        (
            (
                item.dataset,
                "not known" if item.rows is None else _about(item.rows, item.about),
                item.scope.value,
                _day(item.first),
                _day(item.last),
                ", ".join(f"{name} {count:,}" for name, count in (item.by_status or {}).items()),
            )
            for item in found
        ),
    )


COMMANDS = (preview_command, estimate_command, stats_command)


def _request(engine: Engine, dataset: str, email: str, asked: dict[str, Any]) -> ExportRequest:
    """The request that the options stand for. Raises Rejected."""
    return ExportRequest(dataset=dataset, requested_by=email, **fields_of(asked, engine.datasets.get(dataset)))


def _part_document(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "dataset": part.dataset,
        "format": part.format,
        "columns": [{"name": column.name, "type": str(column.type)} for column in part.columns],
        "left_out": [column.name for column in part.left_out],
        "text": part.text,
        "rows": [[_plain(value) for value in row] for row in part.rows],
    }


def _stats_document(item: DatasetStats) -> dict[str, Any]:
    return {**vars(item), "scope": item.scope.value, "first": _plain(item.first), "last": _plain(item.last)}


def _print_estimate(found: Estimate) -> None:
    for part in found.parts:
        console.print(
            f"{part.dataset}: {_about(part.rows, part.rows_basis is not Basis.COUNTED)} rows ({part.rows_basis})",
            markup=False,
        )
        print_rows(("format", "size", "", "seconds", ""), _format_rows(part))
    for warning in found.warnings:
        console.print(f"mind: {warning}", markup=False, soft_wrap=True)


def _format_rows(part: PartEstimate) -> list[tuple[object, ...]]:
    return [
        (item.format, human_bytes(item.bytes), item.bytes_basis, f"{item.seconds:,.1f}", item.seconds_basis)
        for item in part.formats
    ]


def _about(count: int, about: bool) -> str:
    return f"about {count:,}" if about else f"{count:,}"


def _day(value: date | datetime | None) -> str:
    return value.isoformat()[:10] if value else ""


def _plain(value: Any) -> Any:
    """A value as JSON has it: what JSON has no word for is its text."""
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def _short(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(_plain(value)).strip('"')
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
