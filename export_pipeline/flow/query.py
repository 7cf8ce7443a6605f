"""From a request's texts to one query: values are parsed by the declared types and composed as literals.

Literals, not bound parameters: with parameters the driver that streams rows gives up COPY and holds the whole result in
memory (measured; see docs/performance.md). `psycopg.sql` quotes them.
"""

import csv
import io
import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from psycopg import sql

from export_pipeline.flow.dates import DATE_FILTERS, DATE_FROM, Span, parse_moment, parse_span, plain_date
from export_pipeline.model.access import Scope, Sensitivity
from export_pipeline.model.dataset import BOOLEAN, INTEGER, UUID, Column, Dataset, Filter, Kind, Type
from export_pipeline.model.errors import Broken, Rejected
from export_pipeline.model.masking import Mask

#: The filter of every dataset that ends the file after so many rows.
LIMIT = "limit"
#: Where a dataset's source wants the predicates, if not at its end.
WHERE = "{where}"
#: The column, never written, that tells of each row whether it belongs to whoever reaches only their own.
OWNED = "$owned"
_UNTOLD = frozenset({Sensitivity.PERSONAL, Sensitivity.SECRET})
#: The most values that one filter takes.
MOST_VALUES = 1000


@dataclass(frozen=True)
class Selection:
    """What a request selects, checked: which columns, and which rows by which predicates.

    `scope` says whose rows, those of `owner_id` or everybody's: it is None as long as nobody has been authorized, and
    then there are no rows to be had. `columns` are those of the file: how they differ from those of the dataset is in
    `masks`, and why others were left out in `why_left_out`. In a package, `within` are expressions with the queries
    that they must be in the result of, and rows whose key is in one of `referenced` (queries) are selected whatever the
    range of dates says.
    """

    dataset: Dataset
    columns: tuple[Column, ...]
    named: bool
    values: Mapping[str, object]
    span: Span
    predicates: tuple[sql.Composable, ...]
    dated: tuple[sql.Composable, ...] = ()
    limit: int | None = None
    scope: Scope | None = None
    owner_id: str = ""
    left_out: tuple[Column, ...] = ()
    why_left_out: Mapping[str, str] = field(default_factory=dict)
    masks: tuple[Mask, ...] = ()
    within: tuple[tuple[str, sql.Composable], ...] = ()
    referenced: tuple[sql.Composable, ...] = ()

    @property
    def described(self) -> Mapping[str, str]:
        """The filters as text, the range as the moments that it begins at and ends before. Of what is personal, only
        that it was filtered by."""
        bounds = {DATE_FROM: self.span.starts, "date_before": self.span.ends}
        personal = {item.name for item in self.dataset.filters if item.sensitivity in _UNTOLD}
        values = {name: "(not told)" if name in personal else _text_of(value) for name, value in self.values.items()}
        return values | {name: moment.isoformat() for name, moment in bounds.items() if moment}

    @property
    def read(self) -> tuple[Column, ...]:
        """The columns to read, as they are declared: all where some are derived from others, else those of the file.
        Of whoever reaches only their own rows also `OWNED`, whether it is theirs."""
        declared = {mask.column.name: mask.column for mask in self.masks}
        chosen = tuple(declared.get(column.name, column) for column in self.columns)
        read = self.dataset.columns if self.dataset.derive else chosen
        if not self.guarded:
            return read
        assert self.dataset.owner is not None
        mine = sql.SQL("(({}) = {}) IS TRUE").format(sql.SQL(self.dataset.owner.column), sql.Literal(self.owner_id))
        return (*read, Column(OWNED, BOOLEAN, mine.as_string(), ""))

    @property
    def masked(self) -> Mapping[str, str]:
        """The policies of the columns that are not what they are in the source."""
        return {mask.column.name: mask.policy.value for mask in self.masks}

    @property
    def guarded(self) -> bool:
        """Whether each row tells whose it is. Rows that were aggregated do not."""
        owner = self.dataset.owner
        return self.scope is Scope.OWN and bool(owner and owner.column) and WHERE not in self.dataset.source

    def reaching(self, scope: Scope, owner_id: str = "") -> "Selection":
        """The same, of everybody's rows, or of those of that owner alone."""
        return replace(self, scope=scope, owner_id=owner_id)

    def source(self) -> sql.Composed:
        """What follows FROM, with the predicates in the places that the dataset names for them."""
        first, *others = map(sql.SQL, self.dataset.source.split(WHERE))
        if not others:
            return sql.Composed([first])
        where = sql.SQL("({})").format(self._where())
        return sql.Composed([first, *(part for text in others for part in (where, text))])

    def rows(self) -> sql.Composed:
        """What follows the select list, without the order and the limit. Raises Broken where nobody was authorized."""
        if WHERE in self.dataset.source:
            return sql.SQL("FROM {}").format(self.source())
        return sql.SQL("FROM {} WHERE {}").format(self.source(), self._where())

    def order(self) -> sql.Composed:
        """The ORDER BY clause, and the limit."""
        order = sql.SQL("ORDER BY {}").format(sql.SQL(self.dataset.order_by))
        return order if self.limit is None else sql.SQL("{} LIMIT {}").format(order, sql.Literal(self.limit))

    def _where(self) -> sql.Composed:
        if self.scope is None:
            raise Broken("rows were to be read before anybody was authorized; this is a defect, please report it")
        column = self.dataset.owner.column if self.dataset.owner else ""
        own: tuple[sql.Composable, ...] = ()
        # Without a column the required filter names something owned, and its owner has been compared.
        if self.scope is Scope.OWN and column:
            own = (sql.SQL("({}) = {}").format(sql.SQL(column), sql.Literal(self.owner_id)),)
        places = [sql.SQL("({}) IN ({})").format(sql.SQL(expression), query) for expression, query in self.within]
        parts = (*own, *self.predicates, *places, *self._when())
        return sql.SQL(" AND ").join(parts or (sql.SQL("true"),))

    def _when(self) -> tuple[sql.Composable, ...]:
        """The range of dates, which what other datasets refer to is exempt from."""
        if not self.dated or not self.referenced:
            return self.dated
        key = sql.SQL(self.dataset.key)
        ways = [sql.SQL("({})").format(sql.SQL(" AND ").join(self.dated))]
        ways += [sql.SQL("({}) IN ({})").format(key, query) for query in self.referenced]
        return (sql.SQL("({})").format(sql.SQL(" OR ").join(ways)),)


def select(
    dataset: Dataset, filters: Mapping[str, str], columns: tuple[str, ...], at: datetime | None = None
) -> Selection:
    """Checks names, types and ranges; named ranges of dates are counted from `at`, which is now where it is not given.
    Raises Rejected with the name, the value and what is allowed."""
    declared = {item.name: item for item in filters_of(dataset)}
    allowed = [*declared, *([name for name, _, _ in DATE_FILTERS] if dataset.date_column else []), LIMIT]
    for name in filters:
        if name not in allowed:
            raise Rejected(f"{dataset.name} has no filter {name!r}; it has: {', '.join(allowed)}")
    for item in declared.values():
        if item.required and not filters.get(item.name):
            raise Rejected(f"{dataset.name} needs the filter {item.name} ({item.description.rstrip('.')})")
    values = {name: _parse(declared[name], text) for name, text in filters.items() if name in declared}
    span = parse_span(filters, at or datetime.now(UTC))
    predicates = [_predicate(declared[name], value) for name, value in values.items()]
    when = sql.SQL(dataset.date_column or "NULL")
    dated = []
    if span.starts is not None:
        dated.append(sql.SQL("({}) >= {}").format(when, sql.Literal(span.starts)))
    if span.ends is not None:
        dated.append(sql.SQL("({}) < {}").format(when, sql.Literal(span.ends)))
    if dataset.where:
        predicates.append(sql.SQL("({})").format(sql.SQL(dataset.where)))
    return Selection(
        dataset=dataset,
        columns=_columns(dataset, columns),
        named=bool(columns),
        values=values,
        span=span,
        predicates=tuple(predicates),
        dated=tuple(dated),
        limit=_limit(filters),
    )


def filters_of(dataset: Dataset) -> tuple[Filter, ...]:
    """The dataset's filters, with `ids` where its rows have an id."""
    ids = Filter("ids", UUID, f"({dataset.key}) IN ({{values}})", "Only the rows with these ids.", many=True)
    return (*dataset.filters, *((ids,) if dataset.key else ()))


def parse_list(text: str, name: str) -> list[str]:
    """The values of a list: between commas, one that holds a comma or a quote in double quotes, as in CSV. Raises
    Rejected."""
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True))
    except csv.Error:
        lines = []
    values = list(dict.fromkeys(value for line in lines for value in line))
    if len(lines) != 1 or not all(values):
        raise Rejected(
            f'{name}={text!r} is not a list of values: put commas between them, and one that holds a comma in "quotes"'
        )
    if len(values) > MOST_VALUES:
        raise Rejected(f"{name} has {len(values):,} values, and can have {MOST_VALUES:,}; ask for fewer at a time")
    return values


def parse_value(kind: Type, text: str, name: str) -> object:
    """The value that the text stands for. Raises Rejected."""
    try:
        return _PARSERS[kind.kind](text)
    except (ValueError, InvalidOperation):
        raise Rejected(f"{name}={text!r} is not {_EXPECTED[kind.kind]}") from None


def _predicate(item: Filter, value: object) -> sql.Composed:
    if isinstance(value, tuple):
        literals = sql.SQL(", ").join(map(sql.Literal, value))
        return sql.SQL("({})").format(sql.SQL(item.sql).format(values=literals))
    return sql.SQL("({})").format(sql.SQL(item.sql).format(value=sql.Literal(value)))


def _columns(dataset: Dataset, names: tuple[str, ...]) -> tuple[Column, ...]:
    chosen = []
    for name in names:
        column = dataset.column(name)
        if column is None:
            known = ", ".join(item.name for item in dataset.columns)
            raise Rejected(f"{dataset.name} has no column {name!r}; it has: {known}")
        if column in chosen:
            raise Rejected(f"the column {name!r} is asked for twice")
        chosen.append(column)
    return tuple(chosen) or dataset.columns


def _parse(item: Filter, text: str) -> object:
    try:
        return _parse_told(item, text)
    except Rejected:
        if item.sensitivity not in _UNTOLD:
            raise
        kind = f"a list, with commas between its values, each {_EXPECTED[item.type.kind]}"
        raise Rejected(
            f"the value of {item.name} is not {kind if item.many else _EXPECTED[item.type.kind]}; as it is "
            f"{item.sensitivity}, it is not repeated here"
        ) from None


def _parse_told(item: Filter, text: str) -> object:
    if not item.many:
        return parse_value(item.type, text, item.name)
    return tuple(parse_value(item.type, value, item.name) for value in parse_list(text, item.name))


def _text_of(value: object) -> str:
    """A value as the text that names it in a request."""
    if not isinstance(value, tuple):
        return str(value)
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(value)
    return line.getvalue()


def _limit(filters: Mapping[str, str]) -> int | None:
    if LIMIT not in filters:
        return None
    limit = parse_value(INTEGER, filters[LIMIT], LIMIT)
    if not isinstance(limit, int) or limit < 1:
        raise Rejected(f"limit={filters[LIMIT]!r} is not the number of rows to deliver at most: 1 or more")
    return limit


def _boolean(text: str) -> bool:
    try:
        return {"true": True, "false": False}[text.lower()]
    except KeyError:
        raise ValueError(text) from None


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _decimal(text: str) -> Decimal:
    value = Decimal(text)
    if not value.is_finite():
        raise ValueError(text)
    return value


def _integer(text: str) -> int:
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError(text)
    return value


def _text(text: str) -> str:
    if "\0" in text:
        raise ValueError(text)
    return text


_PARSERS: Mapping[Kind, Callable[[str], object]] = {
    Kind.TEXT: _text,
    Kind.UUID: uuid.UUID,
    Kind.INTEGER: _integer,
    Kind.DECIMAL: _decimal,
    Kind.FLOAT: _float,
    Kind.BOOLEAN: _boolean,
    Kind.DATE: plain_date,
    Kind.TIMESTAMP: lambda text: parse_moment({"value": text}, "value")[0],
    Kind.JSON: _text,
}

_EXPECTED = {
    Kind.TEXT: "a text without NUL",
    Kind.UUID: "a UUID such as 6f1c1f6e-2d0a-5c0e-9a44-0f3f0f9f6a10",
    Kind.INTEGER: "a whole number of 64 bits",
    Kind.DECIMAL: "a decimal number",
    Kind.FLOAT: "a finite number",
    Kind.BOOLEAN: "true or false",
    Kind.DATE: "a date such as 2010-11-17",
    Kind.TIMESTAMP: "a date or a timestamp such as 2010-11-17T14:00:00Z",
    Kind.JSON: "a text without NUL",
}
