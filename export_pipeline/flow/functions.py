"""The functions that a column can be computed by: what each takes, of which type its result is, and the SQL it becomes.

A person chooses among them and writes their arguments, so nothing of that gets into the SQL but literals that
`psycopg.sql` quotes and the expressions of the dataset's own columns. They are computed by PostgreSQL alone: the engine
of recurring exports does not compute all of them alike.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from zoneinfo import available_timezones

from psycopg import sql

from export_pipeline.flow.dates import parse_moment, plain_date
from export_pipeline.model.dataset import DATE, FLOAT, INTEGER, TEXT, Column, Kind, Type, decimal
from export_pipeline.model.errors import Rejected

_DIGITS = 38
_MOST_DECIMALS = 10
_MOST_BOUNDS = 20
_NUMBERS = (Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT)
_EXACT = (Kind.INTEGER, Kind.DECIMAL)


@dataclass(frozen=True)
class Constant:
    """A value that the person wrote: a text in quotes, a number, or true or false."""

    value: str | Decimal | bool

    def __str__(self) -> str:
        if isinstance(self.value, str):
            quoted = self.value.replace("'", "''")
            return f"'{quoted}'"
        return str(self.value).lower() if isinstance(self.value, bool) else f"{self.value:f}"


Argument = Column | Constant


@dataclass(frozen=True)
class Call:
    """A function with its arguments, as the person wrote it."""

    function: str
    arguments: tuple[Argument, ...]

    def __str__(self) -> str:
        told = (item.name if isinstance(item, Column) else str(item) for item in self.arguments)
        return f"{self.function}({', '.join(told)})"

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns among the arguments, each once."""
        return tuple(dict.fromkeys(item for item in self.arguments if isinstance(item, Column)))

    def wrong(self, why: str) -> Rejected:
        """The refusal that says what is wrong with the call, and how the function is written."""
        return Rejected(f"{self}: {why}; it is written as in {FUNCTIONS[self.function].example}")


@dataclass(frozen=True)
class Function:
    """One function: how it is written, what it yields, and how a call becomes a type and an expression."""

    example: str
    description: str
    build: Callable[[Call], tuple[Type, sql.Composable]]


def build(call: Call) -> tuple[Type, sql.Composable]:
    """The type and the expression of a call. Raises Rejected for wrong arguments."""
    if call.function not in FUNCTIONS:
        raise Rejected(f"there is no function {call.function!r}; there are: {', '.join(FUNCTIONS)}")
    if not call.columns:
        raise call.wrong("it needs a column to compute from")
    return FUNCTIONS[call.function].build(call)


def _date(call: Call) -> tuple[Type, sql.Composable]:
    return DATE, sql.SQL("({})::date").format(_local(call))


def _hour(call: Call) -> tuple[Type, sql.Composable]:
    return INTEGER, sql.SQL("date_part('hour', {})::bigint").format(_local(call))


def _local(call: Call) -> sql.Composable:
    """The first argument as a wall clock in the zone that the second names."""
    column, *others = call.arguments
    if not isinstance(column, Column) or column.type.kind is not Kind.TIMESTAMP or len(others) > 1:
        raise call.wrong("it takes a timestamp and perhaps a time zone in quotes")
    zone = others[0].value if others and isinstance(others[0], Constant) else "UTC"
    if (others and not isinstance(others[0], Constant)) or zone not in available_timezones():
        raise call.wrong(f"{others[0] if others else zone} is not the IANA name of a time zone, in quotes")
    return sql.SQL("({} AT TIME ZONE {})").format(_value(column), sql.Literal(zone))


def _cased(name: str) -> Callable[[Call], tuple[Type, sql.Composable]]:
    def build_case(call: Call) -> tuple[Type, sql.Composable]:
        if [item.type.kind for item in call.columns] != [Kind.TEXT] or len(call.arguments) != 1:
            raise call.wrong("it takes one column of type text")
        return TEXT, sql.SQL("{}({})").format(sql.SQL(name), _value(call.columns[0]))

    return build_case


def _round(call: Call) -> tuple[Type, sql.Composable]:
    if len(call.arguments) != 2:
        raise call.wrong("it takes a number and how many digits to keep after the point")
    column, digits = call.arguments
    if not isinstance(column, Column) or column.type.kind not in _NUMBERS:
        raise call.wrong("the first argument is a column with numbers")
    places = digits.value if isinstance(digits, Constant) else None
    if isinstance(places, bool) or places not in range(_MOST_DECIMALS + 1):
        raise call.wrong(f"the second argument is a whole number from 0 to {_MOST_DECIMALS}")
    if column.type.kind is Kind.INTEGER:
        return column.type, _value(column)
    literal = sql.Literal(int(str(places)))
    if column.type.kind is Kind.FLOAT:
        # By way of the text, which is the exact decimal that people see; straight to numeric keeps 15 digits.
        return FLOAT, sql.SQL("round(({})::text::numeric, {})::float8").format(_value(column), literal)
    scale = min(column.type.scale, int(str(places)))
    # 9.99 rounds to 10: a digit more before the point.
    kind = decimal(min(_DIGITS, column.type.precision - column.type.scale + scale + 1), scale)
    return kind, sql.SQL("round({}, {})").format(_value(column), literal)


def _concat(call: Call) -> tuple[Type, sql.Composable]:
    if len(call.arguments) < 2:
        raise call.wrong("it takes two values or more")
    if any(column.type.kind is Kind.JSON for column in call.columns):
        raise call.wrong("it does not take JSON")
    return TEXT, sql.SQL("concat({})").format(sql.SQL(", ").join(map(_text, call.arguments)))


def _coalesce(call: Call) -> tuple[Type, sql.Composable]:
    if len(call.arguments) < 2:
        raise call.wrong("it takes two values or more")
    kinds = {column.type.kind for column in call.columns}
    if Kind.JSON in kinds:
        raise call.wrong("it does not take JSON")
    if len(kinds) > 1 and not kinds <= set(_EXACT):
        raise call.wrong(f"its columns are of different types ({', '.join(sorted(kinds))})")
    kind = Kind.DECIMAL if len(kinds) > 1 else next(iter(kinds))
    values = [_value(item) if isinstance(item, Column) else _literal(call, item, kind) for item in call.arguments]
    expression = sql.SQL("coalesce({})").format(sql.SQL(", ").join(values))
    return _widest(kind, call.arguments), expression


def _bucket(call: Call) -> tuple[Type, sql.Composable]:
    column, *others = call.arguments
    if not isinstance(column, Column) or column.type.kind not in _NUMBERS:
        raise call.wrong("the first argument is a column with numbers")
    bounds = [item.value for item in others if isinstance(item, Constant) and isinstance(item.value, Decimal)]
    if len(bounds) < len(others) or not 1 <= len(bounds) <= _MOST_BOUNDS:
        raise call.wrong(f"after the column come 1 to {_MOST_BOUNDS} numbers")
    if any(low >= high for low, high in pairwise(bounds)):
        raise call.wrong("the numbers ascend, and none comes twice")
    value = _value(column)
    if column.type.kind is not Kind.INTEGER:
        # To PostgreSQL NaN is greater than every number; it belongs into no bucket.
        value = sql.SQL("nullif({}, 'NaN')").format(value)
    labels = bucket_labels(bounds)
    cases = [
        sql.SQL("WHEN {} < {} THEN {}").format(value, _number(bound), sql.Literal(label))
        for bound, label in zip(bounds, labels, strict=False)
    ]
    cases.append(sql.SQL("WHEN {} >= {} THEN {}").format(value, _number(bounds[-1]), sql.Literal(labels[-1])))
    return TEXT, sql.SQL("(CASE {} END)::text").format(sql.SQL(" ").join(cases))


def bucket_labels(bounds: Sequence[Decimal]) -> list[str]:
    """What the buckets between these bounds are called: each begins at its lower bound and ends before its upper."""
    told = [f"{bound:f}" for bound in bounds]
    between = [f"{low}–{high}" for low, high in pairwise(told)]
    return [f"<{told[0]}", *between, f"≥{told[-1]}"]


FUNCTIONS: Mapping[str, Function] = {
    "date": Function("date(started_at, 'Europe/Vienna')", "The day of a timestamp in a time zone, else in UTC.", _date),
    "hour": Function(
        "hour(started_at, 'Europe/Vienna')", "The hour, 0 to 23, of a timestamp in a time zone, else in UTC.", _hour
    ),
    "upper": Function(
        "upper(name)", "A text in capital letters: which letters have them, the source's locale says.", _cased("upper")
    ),
    "lower": Function("lower(name)", "A text in small letters, likewise.", _cased("lower")),
    "round": Function(
        "round(price, 2)", "A number with so many digits after the point; halves away from zero.", _round
    ),
    "concat": Function(
        "concat(first_name, ' ', last_name)", "Values one after the other as a text; what is null is left out.", _concat
    ),
    "coalesce": Function(
        "coalesce(email, phone, 'none')", "The first value that is not null; all are of one type.", _coalesce
    ),
    "bucket": Function(
        "bucket(price, 10, 20, 50)",
        "Which range a number is in, as a text: `<10`, `10–20` (20 not included), `20–50` or `≥50`.",
        _bucket,
    ),
}

_CASTS: Mapping[Kind, str] = {
    Kind.TEXT: "({})::text",
    Kind.UUID: "({})::uuid",
    Kind.INTEGER: "({})::bigint",
    Kind.DECIMAL: "({})::numeric",
    # Straight from four bytes to eight, 0.1 would become 0.10000000149011612.
    Kind.FLOAT: "({})::text::float8",
    Kind.BOOLEAN: "({})::boolean",
    Kind.DATE: "({})::date",
    Kind.TIMESTAMP: "({})::timestamptz",
}


def _value(column: Column) -> sql.Composable:
    """The column's value in its declared type, whatever the source has it in."""
    return sql.SQL(_CASTS[column.type.kind]).format(sql.SQL(column.sql))


def _text(item: Argument) -> sql.Composable:
    """A value as it stands in a CSV file."""
    if isinstance(item, Constant):
        return sql.SQL("{}::text").format(sql.Literal(item.value if isinstance(item.value, str) else str(item)))
    value = _value(item)
    if item.type.kind is Kind.TIMESTAMP:
        moment = sql.SQL("""to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""")
        return moment.format(value)
    if item.type.kind is Kind.DATE:
        return sql.SQL("to_char({}, 'YYYY-MM-DD')").format(value)
    if item.type.kind is Kind.DECIMAL:
        return sql.SQL("round({}, {})::text").format(value, sql.Literal(item.type.scale))
    return sql.SQL("({})::text").format(value)


def _literal(call: Call, constant: Constant, kind: Kind) -> sql.Composable:
    """What the person wrote, as a value of the kind."""
    value = constant.value
    try:
        if isinstance(value, bool):
            if kind is Kind.BOOLEAN:
                return sql.Literal(value)
        elif isinstance(value, Decimal):
            whole = value == int(value) and -(2**63) <= value < 2**63
            if kind in (Kind.DECIMAL, Kind.FLOAT) or (kind is Kind.INTEGER and whole):
                cast = {Kind.DECIMAL: "numeric", Kind.FLOAT: "float8", Kind.INTEGER: "bigint"}[kind]
                return sql.SQL("{}::{}").format(_number(value), sql.SQL(cast))
        elif kind in _QUOTED:
            return _QUOTED[kind](value)
    except ValueError:
        pass
    raise call.wrong(f"{constant} is not of its columns' type, which is {kind}")


_QUOTED: Mapping[Kind, Callable[[str], sql.Composable]] = {
    Kind.TEXT: lambda text: sql.SQL("{}::text").format(sql.Literal(text)),
    Kind.UUID: lambda text: sql.SQL("{}::uuid").format(sql.Literal(str(uuid.UUID(text)))),
    Kind.DATE: lambda text: sql.SQL("{}::date").format(sql.Literal(plain_date(text).isoformat())),
    Kind.TIMESTAMP: lambda text: sql.SQL("{}::timestamptz").format(sql.Literal(_moment(text))),
}


def _moment(text: str) -> str:
    moment, _ = parse_moment({"value": text}, "value")
    if moment is None:
        raise ValueError(text)
    return moment.isoformat()


def _number(value: Decimal) -> sql.Composable:
    return sql.SQL("({})").format(sql.Literal(value))


def _widest(kind: Kind, arguments: Sequence[Argument]) -> Type:
    """The type that holds them all."""
    if kind is not Kind.DECIMAL:
        return Type(kind)
    whole = scale = 0
    for item in arguments:
        if isinstance(item, Column) and item.type.kind is Kind.DECIMAL:
            digits, decimals = item.type.precision - item.type.scale, item.type.scale
        elif isinstance(item, Column):
            digits, decimals = 19, 0
        else:
            before, _, after = str(item).lstrip("-").partition(".")
            digits, decimals = len(before), len(after)
        whole, scale = max(whole, digits), max(scale, decimals)
    scale = min(scale, _DIGITS)
    return decimal(min(_DIGITS, whole + scale), scale)
