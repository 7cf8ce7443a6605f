"""Everything that can be refused before a row is read, is refused here.

`make_plan` looks at the request alone and is what every door calls before it files one; `fit_plan` holds a plan against
the source: do its columns have types that arrive exactly, are there too many rows for people.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from pydantic import ValidationError

from export_pipeline.flow.columns import refuse_computed
from export_pipeline.flow.compress import CODECS, compression_of, with_level
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.policies import remasked
from export_pipeline.flow.properties import typed, typing_query
from export_pipeline.flow.query import Selection, select
from export_pipeline.flow.source import Connection, Snapshot, access_settings, translated_errors
from export_pipeline.model.condition import told_name_of
from export_pipeline.model.dataset import Column, Kind
from export_pipeline.model.errors import Broken, Rejected
from export_pipeline.model.format import Format, Options
from export_pipeline.model.job import ExportRequest
from export_pipeline.model.verification import Verify

#: How long too many rows are counted, to say how many there are (ms).
_COUNT_MILLISECONDS = 5_000

#: For each declared kind, how a column of a source type is selected so that it arrives exactly. `{}` is its expression.
#: A source type that is not listed is refused by name: ranges, arrays, `timestamp` without a zone, geometry, …
_AS_IT_IS = "{}"
_AS_TEXT = "({})::text"
SELECTED_AS: Mapping[Kind, Mapping[str, str]] = {
    Kind.TEXT: dict.fromkeys(("text", "varchar"), _AS_IT_IS)
    | dict.fromkeys(("bpchar", "name", "uuid", "enum", "time", "timetz", "interval", "inet", "cidr"), _AS_TEXT)
    | dict.fromkeys(("macaddr", "macaddr8", "json", "jsonb", "citext"), _AS_TEXT),
    Kind.UUID: {"uuid": _AS_TEXT},
    Kind.INTEGER: dict.fromkeys(("int2", "int4", "int8"), _AS_IT_IS),
    Kind.DECIMAL: dict.fromkeys(("numeric", "int2", "int4", "int8"), _AS_TEXT),
    # Straight from four bytes to eight, 0.1 would become 0.10000000149011612.
    Kind.FLOAT: {"float8": _AS_IT_IS, "float4": "({})::text::float8"},
    Kind.BOOLEAN: {"bool": _AS_IT_IS},
    Kind.DATE: {"date": _AS_IT_IS},
    Kind.TIMESTAMP: {"timestamptz": _AS_IT_IS},
    Kind.JSON: dict.fromkeys(("json", "jsonb"), _AS_TEXT),
}

_HINTS = {
    "timestamp": "say which zone it is in: (column AT TIME ZONE 'Europe/Lisbon')",
    "numeric": "declare it as decimal(precision, scale)",
}


@dataclass(frozen=True)
class Plan:
    """A request that has been checked in itself. `row_limit` is the most rows that the file may have; `truncated` says
    why it does not have all that were asked for, and is empty where it does. `in_package`: other datasets are in the
    same file, so that neither limit nor truncate goes with it."""

    request: ExportRequest
    selection: Selection
    format: Format
    options: Options
    row_limit: int | None
    extent: Verify = Verify.OFF
    truncated: str = ""
    in_package: bool = False

    @property
    def extension(self) -> str:
        """The files' extension, without the first point."""
        codec = CODECS.get(compression_of(self.options))
        return self.format.extension + (codec.suffix if codec else "")

    @property
    def media_type(self) -> str:
        """The files' media type."""
        codec = CODECS.get(compression_of(self.options))
        return codec.media_type if codec else self.format.media_type

    @property
    def columns(self) -> tuple[Column, ...]:
        """The file's columns, in order."""
        return self.selection.columns

    @property
    def summary(self) -> Mapping[str, str]:
        """What the rows were chosen by, and whether some were cut off, as text for people."""
        return {**self.selection.summary, **({"truncated": self.truncated} if self.truncated else {})}


@dataclass(frozen=True)
class Order:
    """All that a request asks for: a plan for each file of rows, and the format that holds them together, with its
    options, where there are several datasets or formats."""

    request: ExportRequest
    plans: tuple[Plan, ...]
    container: Format | None = None
    options: Options | None = None


@dataclass(frozen=True)
class FittedPlan:
    """A plan that fits the source, with all types and limits known: the one query to run, and how many rows it is
    likely to yield."""

    plan: Plan
    query: sql.Composed
    rows_estimated: int


def make_plan(engine: Engine, request: ExportRequest, at: datetime | None = None) -> Plan:
    """Checks all that can be known without the source. Raises Rejected, saying what is allowed.

    `at` is when the request was made, which named ranges of dates are counted from; None: now. Whose rows and which
    columns the plan selects is open until somebody is authorized (`flow.request.authorize_plan`).
    """
    dataset = engine.dataset(request.dataset)
    selection = select(dataset, request.filters, request.columns, at, conditions=request.conditions, sort=request.sort)
    if request.recurring and (request.conditions or request.sort or request.truncate or selection.properties):
        raise Rejected("a recurring export is made from extracts: it goes without conditions, sort and properties")
    refuse_computed(request, selection.columns)
    form = engine.format(request.format)
    options = parse_options(engine, form, request.options)
    limit = engine.settings.max_records if form.for_people(options) else None
    return Plan(
        request=request,
        selection=selection,
        format=form,
        options=options,
        row_limit=limit,
        extent=_extent(form, request.verify),
    )


def fit_plan(plan: Plan, snapshot: Snapshot) -> FittedPlan:
    """Holds a plan against the source. Raises Rejected (too many rows, a value that is not of the type that it was
    asked as), Broken (the dataset does not fit it)."""
    with told_by_the_source(plan):
        connection = snapshot.connection
        for setting in access_settings(plan.selection.scope, plan.selection.owner_id, snapshot.own_role):
            connection.execute(setting)
        plan = _typed(connection, plan)
        expressions = _selected(connection, plan)
        plan = _within_limit(connection, plan)
        columns = sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(expression, sql.Identifier(name))
            for expression, name in zip(expressions, plan.selection.read_as, strict=True)
        )
        query = sql.SQL("SELECT {columns} {rows} {order}").format(
            columns=columns, rows=plan.selection.rows(), order=plan.selection.order()
        )
        estimate = connection.execute(sql.SQL("EXPLAIN (FORMAT JSON) {}").format(query)).fetchone()
        assert estimate is not None
        return FittedPlan(plan, query, rows_estimated=int(estimate[0][0]["Plan"]["Plan Rows"]))


def parse_options(engine: Engine, form: Format, options: Mapping[str, str]) -> Options:
    """The format's options, with the level of compression that is in force. Raises Rejected."""
    try:
        return with_level(form.options.model_validate(dict(options)), engine.settings.compression_level)
    except ValidationError as error:
        raise Rejected("; ".join(_wrong_option(form, item) for item in error.errors())) from None


def _extent(form: Format, asked: Verify | None) -> Verify:
    """How much of the files is read again. Raises Rejected where nobody can."""
    if form.reader is not None:
        return asked or form.reader.usual
    if asked in (Verify.FULL, Verify.SAMPLE):
        raise Rejected(f"{form.name}: a file of this format cannot be read back and verified; take verify=off")
    return Verify.OFF


def _wrong_option(form: Format, item: Any) -> str:
    """One finding of the validation as a sentence: which option, what it was, what it can be."""
    name = ".".join(map(str, item["loc"]))
    if item["type"] == "extra_forbidden":
        return f"{form.name} has no option {name}; it has: {', '.join(form.options.model_fields) or 'none'}"
    said = item["msg"].removeprefix("Value error, ")
    return f"{form.name}: option {name}={item['input']!r}: {said}" if name else f"{form.name}: {said}"


def of_another_type(selection: Selection) -> Rejected:
    """What is said where a property is not of its declared type. Without the value: it may be personal."""
    declared = ", ".join(f"{told_name_of(item.keys)}:{item.type}" for item in selection.properties if item.type)
    return Rejected(
        f"a property has a value that is not of the type that was declared for it in properties ({declared}), or not "
        "written as such (a date as 2010-11-17, a number without a plus sign); declare it as text, or leave the type "
        "out: then it is found"
    )


@contextmanager
def told_by_the_source(plan: Plan) -> Iterator[None]:
    """What the source refuses because of what the plan asks for, as Rejected; else its errors as ours."""
    with translated_errors():
        try:
            yield
        except psycopg.errors.DataError as error:
            if not plan.selection.properties:
                raise
            raise of_another_type(plan.selection) from error
        except (psycopg.errors.WindowingError, psycopg.errors.GroupingError) as error:
            raise Rejected(
                f"{plan.selection.dataset.name} cannot be filtered by one of the columns in the conditions: it is "
                "computed from several rows; leave that condition out"
            ) from error


def _typed(connection: Connection, plan: Plan) -> Plan:
    """The plan with the types of the properties that were asked for without one: those of the selected rows."""
    selection = plan.selection
    chosen = {column.source_name for column in selection.columns}
    open_ones = [item for item in selection.properties if item.type is None and item.column.name in chosen]
    if not open_ones:
        return plan
    # Of all rows, whatever the limit: PostgreSQL may read values as their types before it sorts and cuts.
    found = connection.execute(typing_query(selection.dataset, open_ones, selection.rows())).fetchone()
    assert found is not None
    columns = {column.name: column for column in typed(selection.dataset, open_ones, found)}

    def known(column: Column) -> Column:
        found = None if column.computed else columns.get(column.source_name)
        return column if found is None else replace(found, name=column.name, of=column.of)

    dataset = replace(selection.dataset, columns=tuple(map(known, selection.dataset.columns)))
    masks = tuple(remasked(mask, known(mask.column)) for mask in selection.masks)
    delivered = {mask.column.name: mask.delivered for mask in masks}
    return replace(
        plan,
        selection=replace(
            selection,
            dataset=dataset,
            columns=tuple(delivered.get(column.name) or known(column) for column in selection.columns),
            masks=masks,
        ),
    )


def _within_limit(connection: Connection, plan: Plan) -> Plan:
    """The plan where its rows are not too many, or cut to as many as may be where that was asked for. Raises Rejected.

    One row too many answers the question. It is asked in the snapshot that the rows are read from.
    """
    most, selection = plan.row_limit, plan.selection
    if most is None or (selection.limit or most + 1) <= most:
        return plan
    probe = sql.SQL("SELECT count(*) FROM (SELECT 1 {rows} LIMIT {limit}) AS probe")
    found = connection.execute(probe.format(rows=selection.rows(), limit=sql.Literal(most + 1))).fetchone()
    assert found is not None
    if found[0] <= most:
        return plan
    told = _count(connection, selection, most)
    if plan.request.truncate:
        reason = f"cut off after {most:,} of {told} rows, the most that EXPORT_MAX_RECORDS allows"
        return replace(plan, selection=replace(selection, limit=most), truncated=reason)
    raise too_many(plan, f"{selection.dataset.told_name}: {told} rows" if plan.in_package else f"{told} rows")


def too_many(plan: Plan, told: str) -> Rejected:
    """What is said where there are too many rows for people; `told` is how many."""
    if plan.in_package:
        return Rejected(
            f"{told}, and a file that people open ({plan.format.name}) may have {plan.row_limit:,} of a dataset "
            "(EXPORT_MAX_RECORDS): narrow it with filters (date_from, date_to …) or conditions; or take files for "
            "machines (--format zip with --option files=parquet or --option profile=raw); or have that limit raised"
        )
    return Rejected(
        f"{told}, and a file that people open ({plan.format.name}) may have {plan.row_limit:,} (EXPORT_MAX_RECORDS): "
        "narrow it with filters (date_from, date_to …), conditions or limit; or have it cut off there (--truncate); or "
        "take a format for machines (--format parquet, or --format csv --option profile=raw); or have that limit raised"
    )


def _count(connection: Connection, selection: Selection, most: int) -> str:
    """How many rows there are, or, where counting takes too long, more than how many."""
    count = sql.SQL("SELECT count(*) {}").format(selection.rows())
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(_COUNT_MILLISECONDS)))
            [[found]] = connection.execute(count).fetchall()
    except psycopg.errors.QueryCanceled:
        return f"more than {most:,}"
    return f"{found if selection.limit is None else min(found, selection.limit):,}"


def _selected(connection: Connection, plan: Plan) -> list[sql.Composed]:
    """The expression to select for each column, by its declared kind and the type that it has in the source."""
    expressions = [sql.SQL(column.sql) for column in plan.selection.read]
    probe = sql.SQL("SELECT {} FROM {} LIMIT 0").format(sql.SQL(", ").join(expressions), plan.selection.source())
    described = connection.execute(probe).description
    assert described is not None
    types: dict[int, str] = dict(
        connection.execute(
            "SELECT oid::bigint, CASE typtype WHEN 'e' THEN 'enum' ELSE typname END FROM pg_type WHERE oid = ANY(%s)",
            ([item.type_code for item in described],),
        ).fetchall()
    )
    return [
        sql.SQL(_template(plan, column, types[item.type_code])).format(expression)
        for column, expression, item in zip(plan.selection.read, expressions, described, strict=True)
    ]


def _template(plan: Plan, column: Column, source_type: str) -> str:
    template = SELECTED_AS[column.type.kind].get(source_type)
    if template is None:
        raise Broken(
            f"the column {column.name} of {plan.selection.dataset.name} is declared {column.type} and is {source_type} "
            "in the source, which cannot be held exactly; in the dataset's file, "
            + _HINTS.get(source_type, "cast it, for example (column)::text and TEXT")
        )
    return template
