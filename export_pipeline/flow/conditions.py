"""From conditions over a dataset's columns to one predicate each, typed by the columns, of composed literals.

The language is in `model/condition.py`, for people in docs/filters.md. A negative operator (ne, not_in, not_contains)
holds wherever its opposite does not: also for rows without a value.
"""

import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from psycopg import sql

from export_pipeline.flow.properties import property_at, refuse_withheld
from export_pipeline.flow.values import EXPECTED, MOST_VALUES, parse_value
from export_pipeline.model.access import Sensitivity
from export_pipeline.model.condition import (
    MOST_COMPARISONS,
    Comparison,
    Group,
    Joint,
    Operator,
    Tree,
    Value,
    comparisons_of,
    parse_condition,
    text_of,
    told_name_of,
)
from export_pipeline.model.dataset import BOOLEAN, TEXT, Column, Dataset, Filter, Kind, Type, decimal
from export_pipeline.model.errors import Rejected

_UNTOLD = frozenset({Sensitivity.PERSONAL, Sensitivity.SECRET})
#: The longest pattern (characters).
_LONGEST_PATTERN = 1000
_NUMBER = decimal(38, 0)
#: Of floats of four bytes: the significant digits that their texts have at most, and the least with full precision.
_DIGITS_OF_FOUR_BYTES, _LEAST_FULL_OF_FOUR_BYTES = 9, 2.0**-126
_LOOKS_LIKE_A_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")

_NULLS = (Operator.IS_NULL, Operator.IS_NOT_NULL)
_SAME = (Operator.EQ, Operator.NE, Operator.IN, Operator.NOT_IN)
_ORDERED = (*_SAME, Operator.GT, Operator.GTE, Operator.LT, Operator.LTE, Operator.BETWEEN)
_PARTS = (Operator.CONTAINS, Operator.NOT_CONTAINS, Operator.STARTS_WITH, Operator.ENDS_WITH, Operator.MATCHES)
#: What can be asked of a column, by its kind. Of JSON as a whole, what its text says.
OPERATORS: Mapping[Kind, tuple[Operator, ...]] = {
    Kind.TEXT: (*_ORDERED, *_PARTS, *_NULLS),
    Kind.UUID: (*_SAME, *_NULLS),
    Kind.INTEGER: (*_ORDERED, *_NULLS),
    Kind.DECIMAL: (*_ORDERED, *_NULLS),
    Kind.FLOAT: (*_ORDERED, *_NULLS),
    Kind.BOOLEAN: (*_SAME, *_NULLS),
    Kind.DATE: (*_ORDERED, *_NULLS),
    Kind.TIMESTAMP: (*_ORDERED, *_NULLS),
    Kind.JSON: (Operator.CONTAINS, Operator.NOT_CONTAINS, Operator.MATCHES, *_NULLS),
}


@dataclass(frozen=True)
class Compared:
    """A column, or what the keys lead to in its JSON, and the values that it is compared with."""

    column: Column
    keys: tuple[str, ...]
    operator: Operator
    values: tuple[object, ...]


@dataclass(frozen=True)
class Condition:
    """One condition, checked: what it compares, its predicate in the scope of the dataset's columns, the regular
    expressions that PostgreSQL has still to be asked about (each with its property and whether it may be told), and
    the condition as it may be told."""

    compared: tuple[Compared, ...]
    predicate: sql.Composed
    patterns: tuple[tuple[str, str, bool], ...]
    told: str

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that it looks at."""
        return tuple(dict.fromkeys(item.column for item in self.compared))


def parse_conditions(dataset: Dataset, texts: Sequence[str]) -> tuple[Condition, ...]:
    """The conditions over the dataset's columns. Raises Rejected with the property, the value and what is allowed."""
    trees = [parse_condition(text) for text in texts]
    if sum(1 for tree in trees for _ in comparisons_of(tree)) > MOST_COMPARISONS:
        raise Rejected(f"a request may have {MOST_COMPARISONS} conditions; put values into one list: in A,B,C")
    return tuple(_condition(dataset, tree) for tree in trees)


def is_told(item: Column | Filter) -> bool:
    """Whether values that a column or a filter is looked at for may be told. In what people wrote, and in JSON, one
    looks for names and addresses."""
    return item.sensitivity not in _UNTOLD and not item.free_text


def find_column(dataset: Dataset, path: Sequence[str]) -> tuple[Column, tuple[str, ...]]:
    """The column that a path begins with, perhaps after the dataset's name, and the keys into its JSON. Raises
    Rejected."""
    column, keys = dataset.column(path[0]), tuple(path[1:])
    if column is None and keys and path[0] == dataset.name:
        column, keys = dataset.column(keys[0]), keys[1:]
        path = path[1:]
    if column is None:
        known = ", ".join(item.name for item in dataset.columns)
        raise Rejected(f"{dataset.name} has no column {path[0][:60]!r}; it has: {known}")
    if dataset.is_derived(column):
        raise Rejected(
            f"{dataset.name} is neither filtered nor ordered by {column.name}: it is computed after the rows were read"
        )
    return column, keys


def dataset_of(paths: Iterable[Sequence[str]], names: Sequence[str], told: str) -> str:
    """Which of the datasets in a package the paths are about. Raises Rejected where they do not all begin with the name
    of the same one; `told` says what they are part of."""
    firsts = {path[0] if len(path) > 1 else "" for path in paths}
    if len(firsts) != 1 or not firsts <= set(names):
        raise Rejected(
            f"{told}: with several datasets write the dataset before each column, the same in one condition, as in "
            f"{names[0]}.COLUMN; they are: {', '.join(names)}"
        )
    return firsts.pop()


def _condition(dataset: Dataset, tree: Tree) -> Condition:
    found = {item.path: find_column(dataset, item.path)[0] for item in comparisons_of(tree)}
    patterns = tuple(
        (told_name_of(item.path), item.values[0].text, is_told(found[item.path]))
        for item in comparisons_of(tree)
        if item.operator is Operator.MATCHES
    )
    hidden = {path for path, column in found.items() if not is_told(column)}
    compared = tuple(_compared_by(dataset, item)[0] for item in comparisons_of(tree))
    return Condition(compared, _predicate(dataset, tree), patterns, text_of(tree, hidden))


def _predicate(dataset: Dataset, tree: Tree) -> sql.Composed:
    if isinstance(tree, Group):
        joint = sql.SQL(" AND " if tree.joint is Joint.AND else " OR ")
        return sql.SQL("({})").format(joint.join(_predicate(dataset, part) for part in tree.parts))
    compared, operand = _compared_by(dataset, tree)
    return sql.SQL("({})").format(_COMPOSED[tree.operator](operand, compared.values))


def _compared_by(dataset: Dataset, tree: Comparison) -> tuple[Compared, "_Operand"]:
    """What a comparison compares, its values read by the type of that. Raises Rejected."""
    column, keys = find_column(dataset, tree.path)
    if keys:
        kind, expression = _property(dataset, column, keys, tree)
    else:
        kind = column.type
        template = "({})::text" if kind.kind in (Kind.TEXT, Kind.JSON) else "({})"
        expression = sql.SQL(template).format(sql.SQL(column.sql))
    allowed = OPERATORS[kind.kind]
    if tree.operator not in allowed:
        raise Rejected(
            f"{told_name_of(tree.path)} is {kind} and cannot be compared by {tree.operator}: {_able(allowed)}"
        )
    values = _values(tree, kind, told=is_told(column))
    return Compared(column, keys, tree.operator, tuple(values)), _Operand(kind, expression)


def _able(allowed: Sequence[Operator]) -> str:
    return f"it can by {', '.join(allowed)}" + ("" if Operator.EQ in allowed else "; or name a property in it")


def _property(dataset: Dataset, column: Column, keys: tuple[str, ...], of: Comparison) -> tuple[Type, sql.Composed]:
    """The type and the expression of what lies in a JSON column, typed by the values that it is compared with."""
    if column.type.kind is not Kind.JSON:
        raise Rejected(
            f"{told_name_of(of.path)}: {column.name} is {column.type}; only in a column of JSON are properties"
        )
    spread = dataset.spread
    whole = column.sql
    if spread is not None and spread.column == column.name:
        refuse_withheld(dataset, keys)
        whole = spread.sql
    as_json, as_text = (property_at(whole, keys, arrow) for arrow in ("#>", "#>>"))
    numbers = all(not value.quoted and _LOOKS_LIKE_A_NUMBER.fullmatch(value.text) for value in of.values)
    booleans = all(not value.quoted and value.text.lower() in ("true", "false") for value in of.values)
    if not of.values or of.operator not in _ORDERED or not (numbers or booleans):
        return TEXT, as_text
    kind, name = (_NUMBER, "numeric") if numbers else (BOOLEAN, "boolean")
    return kind, sql.SQL("(CASE jsonb_typeof({json}) WHEN {name} THEN ({json})::{type} END)").format(
        json=as_json, name=sql.Literal("number" if numbers else "boolean"), type=sql.SQL(name)
    )


def _values(of: Comparison, kind: Type, *, told: bool) -> list[object]:
    """The values of a comparison, of its type. Raises Rejected."""
    name = told_name_of(of.path)
    if len(of.values) > MOST_VALUES:
        raise Rejected(f"{name} has {len(of.values):,} values, and can have {MOST_VALUES:,}; ask for fewer at a time")
    # What is looked for in other types than text is a part of their text.
    read_as = TEXT if of.operator in _PARTS else kind
    values = [_value(value, read_as, name, told=told) for value in of.values]
    if of.operator is Operator.BETWEEN and values[0] > values[1]:  # type: ignore[operator]
        shown = f"{of.values[0].text} and {of.values[1].text}" if told else "the two values"
        raise Rejected(f"{name} between {shown}: nothing lies between, as the first is greater; turn them round")
    if of.operator is Operator.MATCHES and len(of.values[0].text) > _LONGEST_PATTERN:
        raise Rejected(f"the pattern for {name} has more than {_LONGEST_PATTERN:,} characters")
    return values


def _value(value: Value, kind: Type, name: str, *, told: bool) -> object:
    try:
        return parse_value(kind, value.text, name)
    except Rejected as error:
        hint = "; rows without a value are found by is_null" if value.text.lower() in ("", "null", "none") else ""
        if told:
            raise Rejected(f"{error}{hint}") from None
        raise Rejected(f"{name}: the value is not {EXPECTED[kind.kind]}{hint}") from None


@dataclass(frozen=True)
class _Operand:
    """What is compared."""

    type: Type
    expression: sql.Composable

    @property
    def ordered(self) -> sql.Composable:
        """The same for greater and less: texts by code points, the same in every database."""
        return sql.SQL('{} COLLATE "C"').format(self.expression) if self.type.kind is Kind.TEXT else self.expression


def _literal(operand: _Operand, value: object) -> sql.Literal:
    """The value as it is compared. A float as a text, which PostgreSQL reads as the column's own type: the 0.1 of four
    bytes is not that of eight. What four bytes do not hold stays a number, for columns of eight."""
    if isinstance(value, float) and operand.type.kind is Kind.FLOAT and _is_of_four_bytes(value):
        return sql.Literal(repr(value))
    return sql.Literal(value)


def _is_of_four_bytes(value: float) -> bool:
    """Whether a float of four bytes can be shown as that number. PostgreSQL reads no other one's text where it is as
    great as infinity to four bytes, or as small as zero."""
    digits = len(Decimal(repr(value)).normalize().as_tuple().digits)
    if digits > _DIGITS_OF_FOUR_BYTES:
        return False
    try:
        (nearest,) = struct.unpack("<f", struct.pack("<f", value))
    except OverflowError:
        return False
    # Below, floats are so far apart that a number between two of them would be taken for one of them.
    return abs(nearest) >= _LEAST_FULL_OF_FOUR_BYTES or float(f"{nearest:.{digits}g}") == value


_Compose = Callable[[_Operand, Sequence[object]], sql.Composed]


def _compared(sign: str) -> _Compose:
    def compose(operand: _Operand, values: Sequence[object]) -> sql.Composed:
        left = operand.expression if sign == "=" else operand.ordered
        return sql.SQL("{} {} {}").format(left, sql.SQL(sign), _literal(operand, values[0]))

    return compose


def _in(operand: _Operand, values: Sequence[object]) -> sql.Composed:
    if operand.type.kind is Kind.FLOAT:
        # All values of a list would be brought to one type.
        return sql.SQL("({})").format(sql.SQL(" OR ").join(_compared("=")(operand, [value]) for value in values))
    return sql.SQL("{} IN ({})").format(operand.expression, sql.SQL(", ").join(map(sql.Literal, values)))


def _between(operand: _Operand, values: Sequence[object]) -> sql.Composed:
    return sql.SQL("{} BETWEEN {} AND {}").format(operand.ordered, *(_literal(operand, value) for value in values))


def _like(before: str, after: str) -> _Compose:
    def compose(operand: _Operand, values: Sequence[object]) -> sql.Composed:
        # Wildcards in the value are meant literally.
        escaped = re.sub(r"([\\%_])", r"\\\1", str(values[0]))
        return sql.SQL("{} LIKE {}").format(operand.expression, sql.Literal(f"{before}{escaped}{after}"))

    return compose


def _matches(operand: _Operand, values: Sequence[object]) -> sql.Composed:
    return sql.SQL("{} ~ {}").format(operand.expression, sql.Literal(values[0]))


def _is(what: str) -> _Compose:
    return lambda operand, values: sql.SQL("{} IS {}").format(operand.expression, sql.SQL(what))


def _not(positive: _Compose) -> _Compose:
    """Holds where the other does not, also where there is no value."""
    return lambda operand, values: sql.SQL("({}) IS NOT TRUE").format(positive(operand, values))


_COMPOSED: Mapping[Operator, _Compose] = {
    Operator.EQ: _compared("="),
    Operator.NE: _not(_compared("=")),
    Operator.GT: _compared(">"),
    Operator.GTE: _compared(">="),
    Operator.LT: _compared("<"),
    Operator.LTE: _compared("<="),
    Operator.IN: _in,
    Operator.NOT_IN: _not(_in),
    Operator.CONTAINS: _like("%", "%"),
    Operator.NOT_CONTAINS: _not(_like("%", "%")),
    Operator.STARTS_WITH: _like("", "%"),
    Operator.ENDS_WITH: _like("%", ""),
    Operator.IS_NULL: _is("NULL"),
    Operator.IS_NOT_NULL: _is("NOT NULL"),
    Operator.BETWEEN: _between,
    Operator.MATCHES: _matches,
}
