"""What can be asked of a dataset, for people: its columns, its filters, the functions; all from the dataset's one file.

Every door shows this: the command line, Dagster, the docs. How it looks there is theirs.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from export_pipeline.flow.dates import DATE_FILTERS
from export_pipeline.flow.functions import FUNCTIONS
from export_pipeline.flow.query import LIMIT, filters_of
from export_pipeline.model.access import Role
from export_pipeline.model.dataset import Column, Dataset, Filter, Kind

_NULLS = ("is_null", "is_not_null")
_SAME = ("eq", "ne", "in", "not_in")
_ORDERED = (*_SAME, "gt", "gte", "lt", "lte", "between")
_PARTS = ("contains", "not_contains", "starts_with", "ends_with", "matches")
#: What a condition can ask of a column, by its kind.
OPERATORS: Mapping[Kind, tuple[str, ...]] = {
    Kind.TEXT: (*_ORDERED, *_PARTS, *_NULLS),
    Kind.UUID: (*_SAME, *_NULLS),
    Kind.INTEGER: (*_ORDERED, *_NULLS),
    Kind.DECIMAL: (*_ORDERED, *_NULLS),
    Kind.FLOAT: (*_ORDERED, *_NULLS),
    Kind.BOOLEAN: (*_SAME, *_NULLS),
    Kind.DATE: (*_ORDERED, *_NULLS),
    Kind.TIMESTAMP: (*_ORDERED, *_NULLS),
    Kind.JSON: ("contains", "not_contains", "matches", *_NULLS),
}

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
    """One column, and the operators that conditions on it can have."""

    name: str
    type: str
    sensitivity: str
    description: str
    example: str
    operators: tuple[str, ...]


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
        columns=tuple(map(_column, dataset.columns)),
        filters=tuple(filters),
    )


def functions() -> list[dict[str, str]]:
    """The functions that columns can be computed by, each with an example and what it yields."""
    return [
        {"name": name, "example": function.example, "description": function.description}
        for name, function in FUNCTIONS.items()
    ]


def _column(column: Column) -> ColumnEntry:
    return ColumnEntry(
        name=column.name,
        type=str(column.type),
        sensitivity=column.sensitivity.value,
        description=column.description,
        example=column.example or _EXAMPLES.get(column.type.kind, ""),
        operators=OPERATORS[column.type.kind],
    )


def _filter(item: Filter) -> FilterEntry:
    return FilterEntry(item.name, str(item.type), item.many, item.required, item.description)
