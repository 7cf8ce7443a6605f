"""What can be asked of a dataset, for people: its columns, its filters, the functions; all from the dataset's one file.

Every door shows this: the command line, Dagster, the docs. How it looks there is theirs.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from export_pipeline.flow.conditions import OPERATORS
from export_pipeline.flow.dates import DATE_FILTERS
from export_pipeline.flow.functions import FUNCTIONS
from export_pipeline.flow.query import LIMIT, filters_of
from export_pipeline.model.access import Role, Sensitivity
from export_pipeline.model.dataset import Column, Dataset, Filter, Kind
from export_pipeline.model.masking import default_policy, leaves_hashed

#: What a value looks like, for columns whose dataset gives no example.
_EXAMPLES: Mapping[Kind, str] = {
    Kind.UUID: "6f1c1f6e-2d0a-5c0e-9a44-0f3f0f9f6a10",
    Kind.INTEGER: "42",
    Kind.FLOAT: "0.25",
    Kind.BOOLEAN: "true",
    Kind.DATE: "2010-11-17",
    Kind.TIMESTAMP: "2010-11-17T14:03:22.000000Z",
}


@dataclass(frozen=True)
class ColumnEntry:
    """One column; the operators that conditions on it can have; what becomes of it for whoever may see it masked only
    (empty: it leaves as it is)."""

    name: str
    type: str
    sensitivity: str
    description: str
    example: str
    operators: tuple[str, ...]
    mask: str


@dataclass(frozen=True)
class FilterEntry:
    """One filter by name; `many`: it takes a list."""

    name: str
    type: str
    many: bool
    required: bool
    description: str

    @property
    def takes(self) -> str:
        """What it takes, in words."""
        return f"list of {self.type}" if self.many else self.type


@dataclass(frozen=True)
class Entry:
    """One dataset; `access` says how far each role reaches."""

    name: str
    title: str
    description: str
    access: Mapping[str, str]
    columns: tuple[ColumnEntry, ...]
    filters: tuple[FilterEntry, ...]

    @property
    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        return asdict(self)


def entry_of(dataset: Dataset) -> Entry:
    """The dataset's entry in the catalogue."""
    filters = [_filter(item) for item in filters_of(dataset)]
    if dataset.date_column:
        label = dataset.date_label or dataset.date_column
        filters += [FilterEntry(name, kind, False, False, text.format(label)) for name, kind, text in DATE_FILTERS]
    filters.append(FilterEntry(LIMIT, "integer", False, False, "So many rows at most."))
    return Entry(
        name=dataset.name,
        title=dataset.title,
        description=dataset.description,
        access={role.value: scope.value for role, scope in dataset.access.items() if role is not Role.SERVICE},
        columns=tuple(_column(dataset, column) for column in dataset.columns),
        filters=tuple(filters),
    )


def functions() -> list[dict[str, str]]:
    """The functions that columns can be computed by, each with an example and what it yields."""
    return [
        {"name": name, "example": function.example, "description": function.description}
        for name, function in FUNCTIONS.items()
    ]


def _column(dataset: Dataset, column: Column) -> ColumnEntry:
    return ColumnEntry(
        name=column.name,
        type=str(column.type),
        sensitivity=column.sensitivity.value,
        description=column.description,
        example=column.example or _EXAMPLES.get(column.type.kind, ""),
        operators=() if dataset.is_derived(column) else tuple(OPERATORS[column.type.kind]),
        mask=_mask(column),
    )


def _mask(column: Column) -> str:
    if column.sensitivity is Sensitivity.SECRET:
        return "hash" if leaves_hashed(column) else "drop"
    masked = column.sensitivity is Sensitivity.PERSONAL or column.free_text
    return default_policy(column).value if masked else ""


def _filter(item: Filter) -> FilterEntry:
    return FilterEntry(item.name, str(item.type), item.many, item.required, item.description)
