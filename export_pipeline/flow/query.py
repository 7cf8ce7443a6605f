"""From a request's texts to one query: values are parsed by the declared types and composed as literals.

Literals, not bound parameters: with parameters the driver that streams rows gives up COPY and holds the whole result in
memory (measured; see docs/performance.md). `psycopg.sql` quotes them.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal

from psycopg import sql

from export_pipeline.flow.columns import choose_columns, refuse_new_names
from export_pipeline.flow.conditions import Condition, is_told, parse_conditions
from export_pipeline.flow.dates import DATE_FILTERS, DATE_FROM, Span, parse_span
from export_pipeline.flow.properties import (
    PROPERTIES,
    Property,
    parse_properties,
    split_properties,
    spread_out,
    told_properties,
)
from export_pipeline.flow.sort import Sort, parse_sort, read_sort
from export_pipeline.flow.values import EXPECTED, parse_list, parse_value
from export_pipeline.model.access import Scope
from export_pipeline.model.condition import NOT_TOLD, comparisons_of, parse_condition
from export_pipeline.model.dataset import BOOLEAN, INTEGER, OWNED, TEXT, UUID, Column, Dataset, Filter
from export_pipeline.model.errors import Broken, Rejected
from export_pipeline.model.masking import Mask

#: The filter of every dataset that ends the file after so many rows.
LIMIT = "limit"
#: Where a dataset's source wants the predicates, if not at its end.
WHERE = "{where}"
#: Where such a source wants to know whether a row that it aggregates belongs to whoever reaches only their own.
_OWNED_BY = "{owned}"


@dataclass(frozen=True)
class Selection:
    """What a request selects, checked: which columns, and which rows by which predicates.

    `scope` says whose rows, those of `owner_id` or everybody's: it is None as long as nobody has been authorized, and
    then there are no rows to be had. `columns` are those of the file: how they differ from those of the dataset is in
    `masks`, and why others were left out in `why_left_out`. In a package, `within` are expressions with the queries
    that they must be in the result of, and rows whose key is in one of `referenced` (queries) are selected whatever the
    range of dates says. `conditions` look at the file's rows, behind what the source aggregates; `sort` goes before the
    dataset's own order. `properties` are columns out of JSON, of which those without a declared type get theirs when
    the plan is fitted.
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
    conditions: tuple[Condition, ...] = ()
    sort: tuple[Sort, ...] = ()
    properties: tuple[Property, ...] = ()

    @property
    def described(self) -> Mapping[str, str]:
        """The filters as text, the range as the moments that it begins at and ends before. Of what is personal or free
        text, only that it was filtered by."""
        bounds = {DATE_FROM: self.span.starts, "date_before": self.span.ends}
        return self._told() | {name: moment.isoformat() for name, moment in bounds.items() if moment}

    @property
    def summary(self) -> Mapping[str, str]:
        """All that rows were chosen and ordered by, as text for people: the range as it was asked for."""
        where = " and ".join(condition.told for condition in self.conditions)
        sort = ", ".join(item.told for item in self.sort)
        asked = {**self._told(), **self.span.told, "where": where, "sort": sort}
        return {name: text for name, text in asked.items() if text or name in self.values}

    def _told(self) -> dict[str, str]:
        untold = {item.name for item in self.dataset.filters if not is_told(item)}
        told = {name: NOT_TOLD if name in untold else _text_of(value) for name, value in self.values.items()}
        items = self.values.get(PROPERTIES)
        if isinstance(items, tuple) and not all(is_told(item.column) for item in self.properties):
            told[PROPERTIES] = _text_of(told_properties(items))
        return told

    @property
    def looked_at(self) -> tuple[Column, ...]:
        """The columns that conditions and the order look at."""
        columns = [column for condition in self.conditions for column in condition.columns]
        return tuple(dict.fromkeys((*columns, *(item.column for item in self.sort))))

    @property
    def read(self) -> tuple[Column, ...]:
        """The columns to read, before they are masked: those of the file; where the dataset derives some from others,
        all that it has and those that are computed. Of whoever reaches only their own rows also `OWNED`, whether it is
        theirs."""
        declared = {mask.column.name: mask.column for mask in self.masks}
        read = tuple(declared.get(column.name, column) for column in self.columns)
        if self.dataset.derive is not None:
            read = (*self.dataset.columns, *(column for column in read if column.computed))
        if not self.guarded:
            return read
        assert self.dataset.owner is not None
        witness = self.dataset.owner.witness
        mine = f"({witness}) IS TRUE" if witness else self._mine().as_string()
        return (*read, Column(OWNED, BOOLEAN, mine, ""))

    @property
    def read_as(self) -> tuple[str, ...]:
        """What the query calls the columns to read. Not as the person does: a column of theirs could have the name of
        one that the dataset is ordered by, which means the result's column first."""
        return tuple(f"#{place}" if column.of else column.name for place, column in enumerate(self.read))

    @property
    def masked(self) -> Mapping[str, str]:
        """The policies of the columns that are not what they are in the source."""
        return {mask.column.name: mask.policy.value for mask in self.masks}

    @property
    def guarded(self) -> bool:
        """Whether each row tells whose it is. Rows that were aggregated do where the dataset has a witness."""
        owner = self.dataset.owner
        told = bool(owner and (owner.witness or (owner.column and not self.aggregates)))
        return self.scope is Scope.OWN and told

    @property
    def aggregates(self) -> bool:
        """Whether a row is put together from many of the source."""
        return WHERE in self.dataset.source

    def reaching(self, scope: Scope, owner_id: str = "") -> "Selection":
        """The same, of everybody's rows, or of those of that owner alone."""
        return replace(self, scope=scope, owner_id=owner_id)

    def source(self) -> sql.Composed:
        """What follows FROM, with the predicates in the places that the dataset names for them."""
        places = {WHERE: self._where, _OWNED_BY: self._mine}
        parts = re.split("|".join(f"({re.escape(name)})" for name in places), self.dataset.source)
        return sql.Composed(
            [sql.SQL("({})").format(places[part]()) if part in places else sql.SQL(part) for part in parts if part]
        )

    def _mine(self) -> sql.Composed:
        """Whether a row of the source, before any aggregation, is of whoever reaches only their own."""
        column = self.dataset.owner.column if self.dataset.owner else ""
        if self.scope is not Scope.OWN or not column:
            return sql.SQL("true").format()
        return sql.SQL("(({}) = {}) IS TRUE").format(sql.SQL(column), sql.Literal(self.owner_id))

    def rows(self) -> sql.Composed:
        """What follows the select list, without the order and the limit. Raises Broken where nobody was authorized."""
        conditions = [condition.predicate for condition in self.conditions]
        predicates = conditions if self.aggregates else [self._where(), *conditions]
        if not predicates:
            return sql.SQL("FROM {}").format(self.source())
        return sql.SQL("FROM {} WHERE {}").format(self.source(), sql.SQL(" AND ").join(predicates))

    def order(self) -> sql.Composed:
        """The ORDER BY clause, and the limit."""
        keys = [*(item.composed() for item in self.sort), sql.SQL(self.dataset.order_by)]
        order = sql.SQL("ORDER BY {}").format(sql.SQL(", ").join(keys))
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
    dataset: Dataset,
    filters: Mapping[str, str],
    columns: tuple[str, ...],
    at: datetime | None = None,
    *,
    conditions: tuple[str, ...] = (),
    sort: tuple[str, ...] = (),
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
    _refuse_empty_ranges(values)
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
    items = values.get(PROPERTIES)
    properties = parse_properties(dataset, items) if isinstance(items, tuple) else ()
    spread = spread_out(dataset, properties) if properties else dataset
    chosen = choose_columns(spread, columns)
    known = _known(dataset, properties)
    paths = [item.path for text in conditions for item in comparisons_of(parse_condition(text))]
    refuse_new_names(known, chosen, [*paths, *(read_sort(item)[0] for item in sort)])
    return Selection(
        dataset=spread,
        columns=chosen,
        named=bool(columns),
        values=values,
        span=span,
        predicates=tuple(predicates),
        dated=tuple(dated),
        limit=_limit(filters),
        conditions=parse_conditions(known, conditions),
        sort=parse_sort(known, sort),
        properties=properties,
    )


def filters_of(dataset: Dataset) -> tuple[Filter, ...]:
    """The dataset's filters, with `ids` where its rows have an id and `properties` where some can be columns."""
    ids = Filter("ids", UUID, f"({dataset.key}) IN ({{values}})", "Only the rows with these ids.", many=True)
    named = dataset.spread.column if dataset.spread else ""
    properties = Filter(
        PROPERTIES,
        TEXT,
        "true",
        f"Instead of the column {named}, one column for each of these properties, perhaps with a type, as in "
        "plan,amount:decimal(12,2),utm.source.",
        many=True,
    )
    return (*dataset.filters, *((ids,) if dataset.key else ()), *((properties,) if named else ()))


def _predicate(item: Filter, value: object) -> sql.Composed:
    if isinstance(value, tuple):
        literals = sql.SQL(", ").join(map(sql.Literal, value))
        return sql.SQL("({})").format(sql.SQL(item.sql).format(values=literals))
    return sql.SQL("({})").format(sql.SQL(item.sql).format(value=sql.Literal(value)))


def _known(dataset: Dataset, properties: Sequence[Property]) -> Dataset:
    """The dataset with the columns that conditions and the order may look at: also properties of a declared type."""
    declared = tuple(item.column for item in properties if item.type)
    return replace(dataset, columns=(*dataset.columns, *declared)) if declared else dataset


def _parse(item: Filter, text: str) -> object:
    if item.name == PROPERTIES:
        return tuple(split_properties(text))
    try:
        return _parse_told(item, text)
    except Rejected:
        if is_told(item):
            raise
        kind = f"a list, with commas between its values, each {EXPECTED[item.type.kind]}"
        what = "free text" if item.free_text else item.sensitivity
        raise Rejected(
            f"the value of {item.name} is not {kind if item.many else EXPECTED[item.type.kind]}; as it is {what}, it "
            "is not repeated here"
        ) from None


def _parse_told(item: Filter, text: str) -> object:
    texts = parse_list(text, item.name) if item.many else [text]
    for part in texts:
        if item.choices and part not in item.choices:
            raise Rejected(f"{item.name}={part!r} is none of: {', '.join(item.choices)}")
    values = tuple(parse_value(item.type, part, item.name) for part in texts)
    return values if item.many else values[0]


def _refuse_empty_ranges(values: Mapping[str, object]) -> None:
    """Raises Rejected where a filter `min_…` is above its `max_…`: nothing lies between them."""
    for name, least in values.items():
        most = values.get(f"max_{name.removeprefix('min_')}") if name.startswith("min_") else None
        if isinstance(least, Decimal) and isinstance(most, Decimal) and least > most:
            raise Rejected(f"{name}={least} is more than max_{name.removeprefix('min_')}={most}: nothing lies between")


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
