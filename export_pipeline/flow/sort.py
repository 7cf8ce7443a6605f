"""From `price desc,created_at` to an order of rows: what was asked for first, and the dataset's own order among equals,
so that the same rows always come in the same order.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from export_pipeline.flow.conditions import find_column
from export_pipeline.model.condition import told_name_of
from export_pipeline.model.dataset import Column, Dataset, Kind
from export_pipeline.model.errors import Rejected

#: The most columns to order by.
_MOST = 10
_ITEM = re.compile(r"([^\s]+)(?:\s+(asc|desc))?", re.IGNORECASE)


@dataclass(frozen=True)
class Sort:
    """A column to order by. Rows without a value come last, whichever way."""

    column: Column
    descending: bool

    @property
    def told(self) -> str:
        """As it is asked for."""
        return f"{self.column.name} desc" if self.descending else self.column.name

    def composed(self) -> sql.Composed:
        """As a part of ORDER BY."""
        way = sql.SQL("DESC NULLS LAST" if self.descending else "NULLS LAST")
        return sql.SQL("({}) {}").format(sql.SQL(self.column.sql), way)


def parse_sort(dataset: Dataset, items: Sequence[str]) -> tuple[Sort, ...]:
    """The order that the items name. Raises Rejected with what is allowed."""
    if len(items) > _MOST:
        raise Rejected(f"sort has {len(items)} columns, and can have {_MOST}")
    found: list[Sort] = []
    for item in items:
        path, descending = read_sort(item)
        column, keys = find_column(dataset, path)
        if keys or column.type.kind is Kind.JSON:
            raise Rejected(f"sort {told_name_of(path)!r}: rows have no order by JSON, nor by what is in it")
        if any(column == other.column for other in found):
            raise Rejected(f"sort names the column {column.name!r} twice")
        found.append(Sort(column, descending))
    return tuple(found)


def read_sort(item: str) -> tuple[tuple[str, ...], bool]:
    """The column, perhaps after its dataset's name, and whether it goes down. Raises Rejected."""
    found = _ITEM.fullmatch(item.strip())
    if found is None:
        raise Rejected(f"sort {item!r} is not a column, perhaps with asc or desc, as in 'price desc'")
    return tuple(found[1].split(".")), (found[2] or "").lower() == "desc"
