"""From a request's texts to one query: values are parsed by the declared types and composed as literals.

Literals, not bound parameters: with parameters the driver that streams rows gives up COPY and holds the whole result in
memory (measured; see docs/performance.md). `psycopg.sql` quotes them.
"""

import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation

from psycopg import sql

from export_pipeline.model.dataset import Column, Dataset, Filter, Kind, Type
from export_pipeline.model.errors import Rejected

DATE_FROM = "date_from"
DATE_TO = "date_to"


@dataclass(frozen=True)
class Selection:
    """What a request selects, checked: which columns, and which rows by which predicates."""

    dataset: Dataset
    columns: tuple[Column, ...]
    values: Mapping[str, object]
    starts: datetime | None
    ends: datetime | None
    predicates: tuple[sql.Composable, ...]
    period: str

    @property
    def described(self) -> Mapping[str, str]:
        """The filters as text, the range as the moments that it begins at and ends before."""
        bounds = {DATE_FROM: self.starts, "date_before": self.ends}
        return {name: str(value) for name, value in self.values.items()} | {
            name: moment.isoformat() for name, moment in bounds.items() if moment
        }

    def rows(self) -> sql.Composed:
        """What follows the select list, without the order."""
        source = sql.SQL(self.dataset.source)
        return sql.SQL("FROM {source} WHERE {where}").format(
            source=source, where=sql.SQL(" AND ").join(self.predicates)
        )

    def order(self) -> sql.Composed:
        """The ORDER BY clause."""
        return sql.SQL("ORDER BY {}").format(sql.SQL(self.dataset.order_by))


def select(dataset: Dataset, filters: Mapping[str, str], columns: tuple[str, ...]) -> Selection:
    """Checks names, types and ranges. Raises Rejected with the name, the value and what is allowed."""
    declared = {item.name: item for item in dataset.filters}
    allowed = [*declared, *([DATE_FROM, DATE_TO] if dataset.date_column else [])]
    for name in filters:
        if name not in allowed:
            raise Rejected(f"{dataset.name} has no filter {name!r}; it has: {', '.join(allowed)}")
    for item in declared.values():
        if item.required and not filters.get(item.name):
            raise Rejected(f"{dataset.name} needs the filter {item.name} ({item.description.rstrip('.')})")
    values = {name: parse_value(declared[name].type, text, name) for name, text in filters.items() if name in declared}
    starts, _ = _moment(filters, DATE_FROM)
    ends, whole_day = _moment(filters, DATE_TO)
    if ends is not None and whole_day:
        if ends.date() == date.max:
            raise Rejected(f"date_to={filters[DATE_TO]!r} is the last day of the calendar; leave date_to out")
        ends += timedelta(days=1)
    if starts is not None and ends is not None and starts >= ends:
        raise Rejected(
            f"date_from {filters[DATE_FROM]!r} is not before date_to {filters[DATE_TO]!r}; nothing lies between"
        )
    predicates = [_predicate(declared[name], value) for name, value in values.items()]
    when = sql.SQL(dataset.date_column or "NULL")
    if starts is not None:
        predicates.append(sql.SQL("({}) >= {}").format(when, sql.Literal(starts)))
    if ends is not None:
        predicates.append(sql.SQL("({}) < {}").format(when, sql.Literal(ends)))
    if dataset.where:
        predicates.append(sql.SQL("({})").format(sql.SQL(dataset.where)))
    return Selection(
        dataset=dataset,
        columns=_columns(dataset, columns),
        values=values,
        starts=starts,
        ends=ends,
        predicates=tuple(predicates) or (sql.SQL("true"),),
        period=_period(filters),
    )


def parse_value(kind: Type, text: str, name: str) -> object:
    """The value that the text stands for. Raises Rejected."""
    try:
        return _PARSERS[kind.kind](text)
    except (ValueError, InvalidOperation):
        raise Rejected(f"{name}={text!r} is not {_EXPECTED[kind.kind]}") from None


def _predicate(item: Filter, value: object) -> sql.Composed:
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


def _moment(filters: Mapping[str, str], name: str) -> tuple[datetime | None, bool]:
    """The moment that the text names, in UTC, and whether it was a plain date."""
    text = filters.get(name)
    if not text:
        return None, False
    try:
        try:
            return datetime.combine(_plain_date(text), time(), UTC), True
        except ValueError:
            moment = datetime.fromisoformat(text)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC), False
    except (ValueError, OverflowError):
        raise Rejected(
            f"{name}={text!r} is neither a date (2010-11-17) nor a timestamp (2010-11-17T14:00:00Z; UTC if no zone is "
            "given)"
        ) from None


def _plain_date(text: str) -> date:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()


def _period(filters: Mapping[str, str]) -> str:
    """The range for a file's name: only digits, letters and hyphens."""
    if not filters.get(DATE_FROM) and not filters.get(DATE_TO):
        return ""
    bounds = []
    for name, otherwise in ((DATE_FROM, "start"), (DATE_TO, "now")):
        moment, whole_day = _moment(filters, name)
        bounds.append(
            otherwise if moment is None else f"{moment:%Y-%m-%d}" if whole_day else f"{moment:%Y-%m-%dT%H%M%SZ}"
        )
    return "_to_".join(bounds)


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
    Kind.DATE: _plain_date,
    Kind.TIMESTAMP: lambda text: _moment({"value": text}, "value")[0],
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
