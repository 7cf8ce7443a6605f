"""The options of commands that take a request: what is asked for, and how that becomes its fields; when it runs."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from export_pipeline.flow.columns import split_columns
from export_pipeline.flow.query import filters_of
from export_pipeline.model.dataset import Dataset
from export_pipeline.model.errors import Rejected
from export_pipeline.model.verification import Verify

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--filter",
        "filters",
        multiple=True,
        metavar="NAME=VALUE",
        help="Repeat for several filters, or several values of one that takes a list; see `datasets`.",
    ),
    click.option(
        "--where",
        "conditions",
        multiple=True,
        metavar="CONDITION",
        help="COLUMN OPERATOR VALUE; all that are given hold.",
    ),
    click.option("--sort", default="", metavar="A,B", help="The columns to order by, each perhaps with desc."),
    click.option(
        "--columns",
        default="",
        metavar="A,B",
        help="The columns, in order, each perhaps renamed (`a as b`) or computed (`upper(a) as b`). Default: all.",
    ),
    click.option("--truncate", is_flag=True, help="Cut off rows beyond EXPORT_MAX_RECORDS instead of refusing."),
    click.option("--no-contact-info", is_flag=True, help="No personal column; free text redacted."),
    click.option(
        "--mask", "masks", multiple=True, metavar="COLUMN=POLICY", help="Mask a column more than the role must."
    ),
    click.option(
        "--recipient", default="", metavar="NAME", help="Whom the file is for: keyed hashes are theirs alone."
    ),
    click.option("--reason", default="", metavar="TEXT", help="Why the data is needed: a sentence or a ticket."),
    click.option("--since", type=click.Choice(["last", "start"]), help="Only what is new since the last; start: all."),
    click.option("--format", "file_format", metavar="NAME", help="See `formats`. Default: csv."),
    click.option(
        "--option", "options", multiple=True, metavar="NAME=VALUE", help="Of the format, for example profile=raw."
    ),
    click.option("--compression", metavar="NAME", help="Of text and Avro: gzip, zstd, lz4, snappy or none."),
    click.option(
        "--verify",
        type=click.Choice([extent.value for extent in Verify]),
        help="How much of the finished file is read back and compared. Default: full, but a sample of Avro and XLSX.",
    ),
    click.option("--destination", metavar="NAME", help="s3 or local. Default: s3."),
)


_RUN_OPTIONS = (
    click.option("--at", metavar="TIME", help="Not before this moment (ISO 8601, UTC if no zone is given)."),
    click.option("--direct", is_flag=True, help="Run it in this process, without Dagster's daemon."),
    click.option("--no-wait", is_flag=True, help="File the request and return."),
)


def request_options(command: F) -> F:
    """Gives a command the options; it gets their values as `**asked`."""
    return _with(_OPTIONS, command)


def run_options(command: F) -> F:
    """Gives a command that files an export the options of when and where it runs."""
    return _with(_RUN_OPTIONS, command)


def _with(options: Sequence[Callable[[F], F]], command: F) -> F:
    for option in reversed(options):
        command = option(command)
    return command


def fields_of(asked: dict[str, Any], dataset: Dataset | None) -> dict[str, Any]:
    """The fields of a request that the options name, without those that were not given. `dataset` is whose filters they
    are, where it is one. Raises Rejected."""
    compression = asked["compression"]
    pairs = (*asked["options"], *([f"compression={compression}"] if compression else []))
    given = {
        "filters": parse_filters(asked["filters"], dataset),
        "conditions": asked["conditions"],
        "sort": tuple(name.strip() for name in asked["sort"].split(",") if name.strip()),
        "columns": split_columns(asked["columns"]),
        "truncate": asked["truncate"],
        "masks": parse_pairs(asked["masks"], "--mask"),
        "recipient": asked["recipient"],
        "reason": asked["reason"],
        "since": asked["since"],
        "format": asked["file_format"],
        "options": parse_pairs(pairs, "--option"),
        "verify": Verify(asked["verify"]) if asked["verify"] else None,
        "destination": asked["destination"],
    }
    without = {"contact_info": False} if asked["no_contact_info"] else {}
    return {name: value for name, value in given.items() if value} | without


def parse_pairs(pairs: tuple[str, ...], option: str) -> dict[str, str]:
    """NAME=VALUE texts as a mapping. Raises Rejected."""
    parsed: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise Rejected(f"{option} {pair!r} is not of the form NAME=VALUE")
        if name in parsed:
            raise Rejected(f"{option} {name} is given twice")
        parsed[name] = value
    return parsed


def parse_filters(pairs: tuple[str, ...], dataset: Dataset | None) -> dict[str, str]:
    """NAME=VALUE texts as a mapping; the values of a filter that takes a list are put together. Raises Rejected."""
    many = {item.name for item in filters_of(dataset) if item.many} if dataset else set()
    lists = {name: [pair for pair in pairs if pair.startswith(f"{name}=")] for name in many}
    repeated = {name: given for name, given in lists.items() if len(given) > 1}
    single = tuple(pair for pair in pairs if pair.partition("=")[0] not in repeated)
    return parse_pairs(single, "--filter") | {
        name: ",".join(pair.removeprefix(f"{name}=") for pair in given) for name, given in repeated.items()
    }
