"""What a dataset declares: its columns and their types, its filters, who may have it.

The SQL texts here are written by whoever writes the dataset's file, never by a person who asks for an export;
values reach them only as literals composed by `psycopg.sql`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from export_pipeline.model.access import Role, Scope, Sensitivity
from export_pipeline.model.report import Report


class Kind(StrEnum):
    """The closed set of column types that every format can hold, or refuses by name."""

    TEXT = "text"
    UUID = "uuid"
    INTEGER = "integer"
    DECIMAL = "decimal"
    FLOAT = "float"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"
    JSON = "json"


@dataclass(frozen=True)
class Type:
    """A column's type. `precision` and `scale` (digits in all, digits after the point) are for decimals."""

    kind: Kind
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        return f"decimal({self.precision},{self.scale})" if self.kind is Kind.DECIMAL else self.kind.value


TEXT = Type(Kind.TEXT)
UUID = Type(Kind.UUID)
INTEGER = Type(Kind.INTEGER)
FLOAT = Type(Kind.FLOAT)
BOOLEAN = Type(Kind.BOOLEAN)
DATE = Type(Kind.DATE)
TIMESTAMP = Type(Kind.TIMESTAMP)
JSON = Type(Kind.JSON)


def decimal(precision: int, scale: int) -> Type:
    """A decimal of at most `precision` digits (38 at most), `scale` of them after the point."""
    if not 0 <= scale <= precision <= 38:
        raise ValueError(f"decimal({precision},{scale}) is not within decimal(38,38)")
    return Type(Kind.DECIMAL, precision, scale)


def parse_type(text: str) -> Type:
    """The type that `str` writes so. Raises ValueError."""
    kind, _, digits = text.partition("(")
    if not digits:
        return Type(Kind(kind))
    precision, _, scale = digits.removesuffix(")").partition(",")
    return decimal(int(precision), int(scale))


@dataclass(frozen=True)
class Column:
    """One column of the file: `sql` is the expression that yields it, in the scope of the dataset's source."""

    name: str
    type: Type
    sql: str
    description: str
    sensitivity: Sensitivity = Sensitivity.INTERNAL
    example: str = ""


@dataclass(frozen=True)
class Filter:
    """A named filter: `sql` is a predicate in the scope of the dataset's source, `{value}` stands for the value."""

    name: str
    type: Type
    sql: str
    description: str
    required: bool = False


@dataclass(frozen=True)
class Owner:
    """How the owner of what is asked for is found: the `filter` that names it, and the `sql` that yields the owner's id
    for `{value}` (no row: it does not exist). `noun` is what people call it."""

    filter: str
    sql: str
    noun: str


@dataclass(frozen=True)
class Dataset:
    """One exportable cut of the source: what follows FROM, the columns, the filters, the order and the access table.

    `where` is a predicate that always holds. `date_column` is the expression that `date_from` and `date_to` apply to,
    `date_label` what people call it. `tables` are the source's tables that it reads, `report` what its rows say
    together.
    """

    name: str
    title: str
    description: str
    source: str
    columns: tuple[Column, ...]
    filters: tuple[Filter, ...]
    order_by: str
    owner: Owner
    access: Mapping[Role, Scope]
    where: str = ""
    date_column: str = ""
    date_label: str = ""
    tables: tuple[str, ...] = field(default=())
    report: Report = field(default_factory=Report)

    def column(self, name: str) -> Column | None:
        """The column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)
