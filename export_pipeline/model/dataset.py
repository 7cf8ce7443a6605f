"""What a dataset declares: its columns and their types, its filters, who may have it.

The SQL texts here are written by whoever writes the dataset's file, never by a person who asks for an export;
values reach them only as literals composed by `psycopg.sql`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from export_pipeline.model.access import Policy, Role, Scope, Sensitivity
from export_pipeline.model.report import Report

if TYPE_CHECKING:
    import polars as pl


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


#: The column, never written, that tells of each row whether it belongs to whoever reaches only their own.
OWNED = "$owned"


def is_reserved(name: str) -> bool:
    """Whether no column may have the name: Polars takes it for a pattern, which stands for all columns that fit,
    those that may not be seen among them (docs.pola.rs, "polars.col"), or it is `OWNED`."""
    return name in ("*", OWNED) or (name.startswith("^") and name.endswith("$"))


@dataclass(frozen=True)
class Column:
    """One column of the file: `sql` is the expression that yields it, in the scope of the dataset's source.
    `number_format` is how a spreadsheet shows its numbers or dates, as Excel writes it (`#,##0.00`); empty: by type.

    `of` are, for a column that a request renames or has computed, the names of the dataset's columns that it comes
    from; `computed` tells the two apart. A computed column is as sensitive as the most sensitive of them.

    `mask` is what becomes of it for roles that may see it masked only; None: what is usual for its type. `free_text`
    tells that people write into it (a text, or the values of JSON), so that it may hold anybody's address. `spread`
    tells that a request made the column out of a property of JSON: then what people wrote may be a number as well.
    """

    name: str
    type: Type
    sql: str
    description: str
    sensitivity: Sensitivity = Sensitivity.INTERNAL
    example: str = ""
    number_format: str = ""
    mask: Policy | None = None
    free_text: bool = False
    spread: bool = False
    of: tuple[str, ...] = ()
    computed: bool = False

    @property
    def source_name(self) -> str:
        """The name that the dataset has for it; of a computed column its own."""
        return self.of[0] if self.of and not self.computed else self.name


@dataclass(frozen=True)
class Filter:
    """A named filter: `sql` is a predicate in the scope of the dataset's source, `{value}` stands for the value.

    With `many` it takes a list, and `{values}` stands for the values with commas between them, as in
    `campaign.id IN ({values})`. `choices` are all the values that there are, where that is known. `sensitivity` is that
    of what the filter looks at: whoever may not see it may not filter by it, and values that are personal are not told
    in manifests. `free_text` tells that it searches what people wrote: its values are not told either.
    """

    name: str
    type: Type
    sql: str
    description: str
    required: bool = False
    many: bool = False
    sensitivity: Sensitivity = Sensitivity.INTERNAL
    free_text: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Owner:
    """Whose rows are whose, for the roles that reach only their own.

    `filter` names the filter by which something owned is asked for, and `sql` yields the owner's id for `{value}` (no
    row: it does not exist); both are empty where there is no such filter. `noun` is what people call what is owned.
    `column` is the expression of the owner's id in the scope of the dataset's source: for whoever reaches only their
    own rows it is always compared with their id, whatever the filters say. Without it the filter must be required.

    Each row that is read is asked as well whether it is theirs. One that the source aggregates knows that only if the
    source says so: there the placeholder `{owned}` stands for whether a row that is aggregated is theirs (true for
    whoever reaches everybody's), and `witness` is the expression that tells it of the result, as of
    `bool_and({owned}) AS owned`. Without it such rows are not asked.
    """

    filter: str
    sql: str
    noun: str
    column: str = ""
    witness: str = ""


class Subject(StrEnum):
    """How a column names a person: by what its values are brought to one form, so that the person is found."""

    PHONE = "phone"
    EMAIL = "email"
    ID = "id"


@dataclass(frozen=True)
class Spread:
    """A JSON column whose properties can be asked for as columns of their own, by the filter `properties`. `sql` yields
    the whole JSON as jsonb; what is in `withheld` (in lower case), in any letter case and at any depth, leaves in no
    column and is looked at by nobody; out of the whole the column's own expression takes it."""

    column: str
    sql: str
    withheld: tuple[str, ...] = ()


@dataclass(frozen=True)
class Deletions:
    """Where the source writes down which rows were deleted: `table`, which the expressions call `deletion`. A source
    without that table does not tell of deletions.

    `key` yields what `column` of the file held, `at` when the row was deleted, `owner` the owner's id; `where` says
    which entries are about rows of the dataset. `filters` are, for some of the dataset's filters, predicates over the
    table; where there is none, keys are listed that were perhaps never delivered.
    """

    table: str
    where: str
    column: str
    key: str
    at: str
    owner: str = ""
    filters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cursor:
    """How new and changed rows are told. `tables` are the source's tables by the names that the dataset's source gives
    them: a row is new as soon as one of them has a new or changed row in it. They must be real tables, which have the
    system column `xmin`: no views, no foreign tables."""

    tables: tuple[str, ...]
    deletions: Deletions | None = None


@dataclass(frozen=True)
class Dataset:
    """One exportable cut of the source: what follows FROM, the columns, the filters, the order and the access table.

    `where` is a predicate that always holds. `date_column` is the expression that the date filters apply to,
    `date_label` what people call it. `key` is the expression of a row's id, a UUID, which the filter `ids` applies to.
    `references` are, for other datasets, the expressions of their keys that its rows refer to: a package of both holds
    whatever is referred to. `tables` are the source's tables that it reads, `report` what its rows say together.
    `subjects` are the columns whose values name a person, so that files with their data are found; `status` is the
    column that says how far a row has come.

    What selects rows (the owner's predicate, the filters, the range of dates and `where`) follows the source as its
    WHERE clause. A source that aggregates holds the placeholder `{where}` instead, once or several times: each stands
    for all of these predicates, in parentheses, so that they apply to the rows that are aggregated. Then the
    expressions of the owner, the filters and the date are in the scope of that place. Other braces mean nothing.

    `derive` adds what SQL has no function for. It gets all columns, batch by batch as they were read, and fills in
    those whose `sql` is a placeholder that begins with NULL, such as `NULL::float8`; it neither adds nor drops nor
    moves rows. `spread` names a JSON column whose properties can be columns of their own. With a `cursor` only what is
    new or changed can be asked for. `of` is never declared: it is the dataset's own name where a package calls it by
    another one.
    """

    name: str
    title: str
    description: str
    source: str
    columns: tuple[Column, ...]
    filters: tuple[Filter, ...]
    order_by: str
    access: Mapping[Role, Scope]
    owner: Owner | None = None
    where: str = ""
    date_column: str = ""
    date_label: str = ""
    key: str = ""
    references: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[str, ...] = field(default=())
    report: Report = field(default_factory=Report)
    derive: Callable[[pl.DataFrame], pl.DataFrame] | None = None
    spread: Spread | None = None
    cursor: Cursor | None = None
    subjects: Mapping[str, Subject] = field(default_factory=dict)
    status: str = ""
    of: str = ""

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{self.name} declares the column {name} twice: a file cannot tell them apart")
            if is_reserved(name):
                raise ValueError(f"{self.name} declares the column {name}: that name means something else; change it")
        if ("{owned}" in self.source) != bool(self.owner and self.owner.witness):
            raise ValueError(f"{self.name} has one without the other: {{owned}} in its source, and its owner's witness")
        if self.cursor is not None and "{where}" in self.source:
            raise ValueError(f"{self.name} aggregates: a row of it is put together from many, and none of them is new")
        for column in self.columns:
            if column.free_text and not column.spread and column.type.kind not in (Kind.TEXT, Kind.JSON):
                raise ValueError(f"{self.name} declares {column.name} as free text, and it is {column.type}")
        for name in (*self.subjects, *([self.status] if self.status else [])):
            if name not in names:
                raise ValueError(f"{self.name} has no column {name}; subjects and status name columns of the dataset")
        if Scope.OWN not in self.access.values():
            return
        named = self.owner.filter if self.owner else ""
        required = any(item.name == named and item.required for item in self.filters)
        if self.owner is None or not (self.owner.column or required):
            raise ValueError(
                f"{self.name} gives a role its own rows only: declare owner=Owner(…) with a column that tells whose a "
                "row is, or with a required filter"
            )

    @property
    def declared_name(self) -> str:
        """Its own name, whatever a package calls it."""
        return self.of or self.name

    @property
    def told_name(self) -> str:
        """Its own name, and what a package calls it where that is another one."""
        return f"{self.of} (as {self.name})" if self.of else self.name

    def column(self, name: str) -> Column | None:
        """The column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)

    def is_derived(self, column: Column) -> bool:
        """Whether the column has its values from `derive`, so that the source knows nothing of them."""
        return self.derive is not None and column.sql.startswith("NULL")
