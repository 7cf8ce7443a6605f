"""Everything that can be refused before a row is read, is refused here.

`make_plan` looks at the request alone and is what every door calls before it files one; `fit_plan` holds a plan against
the source: do its columns have types that arrive exactly, are there too many rows for people.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql
from pydantic import ValidationError

from export_pipeline.flow.compress import CODECS, compression_of, with_level
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.query import Selection, select
from export_pipeline.flow.source import Connection, Snapshot, access_settings, translated_errors
from export_pipeline.model.dataset import Column, Kind
from export_pipeline.model.errors import Broken, Rejected
from export_pipeline.model.format import Format, Options
from export_pipeline.model.job import ExportRequest
from export_pipeline.model.verification import Verify

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
    """A request that has been checked in itself."""

    request: ExportRequest
    selection: Selection
    format: Format
    options: Options
    row_limit: int | None
    extent: Verify = Verify.OFF

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
    """A plan that fits the source: the one query to run, and how many rows it is likely to yield."""

    plan: Plan
    query: sql.Composed
    rows_estimated: int


def make_plan(engine: Engine, request: ExportRequest, at: datetime | None = None) -> Plan:
    """Checks all that can be known without the source. Raises Rejected, saying what is allowed.

    `at` is when the request was made, which named ranges of dates are counted from; None: now. Whose rows and which
    columns the plan selects is open until somebody is authorized (`flow.request.authorize_plan`).
    """
    selection = select(engine.dataset(request.dataset), request.filters, request.columns, at)
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
    """Holds a plan against the source. Raises Rejected (too many rows), Broken (the dataset does not fit it)."""
    with translated_errors():
        connection = snapshot.connection
        for setting in access_settings(plan.selection.scope, plan.selection.owner_id, snapshot.own_role):
            connection.execute(setting)
        expressions = _selected(connection, plan)
        _refuse_too_many(connection, plan)
        columns = sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(expression, sql.Identifier(column.name))
            for expression, column in zip(expressions, plan.selection.read, strict=True)
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
        allowed = "; ".join(_described(name, field) for name, field in form.options.model_fields.items())
        wrong = "; ".join(f"option {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise Rejected(f"{form.name}: {wrong}. Its options: {allowed or 'none'}") from None


def _extent(form: Format, asked: Verify | None) -> Verify:
    """How much of the files is read again. Raises Rejected where nobody can."""
    if form.reader is not None:
        return asked or form.reader.usual
    if asked in (Verify.FULL, Verify.SAMPLE):
        raise Rejected(f"{form.name}: a file of this format cannot be read back and verified; take verify=off")
    return Verify.OFF


def _described(name: str, field: Any) -> str:
    return f"{name} ({field.description})" if field.description else name


def _refuse_too_many(connection: Connection, plan: Plan) -> None:
    """LIMIT, not a count: one row too many answers the question."""
    if plan.row_limit is None or (plan.selection.limit or plan.row_limit + 1) <= plan.row_limit:
        return
    probe = sql.SQL("SELECT count(*) FROM (SELECT 1 {rows} LIMIT {limit}) AS probe")
    found = connection.execute(
        probe.format(rows=plan.selection.rows(), limit=sql.Literal(plan.row_limit + 1))
    ).fetchone()
    assert found is not None
    if found[0] > plan.row_limit:
        raise Rejected(
            f"more than {plan.row_limit:,} rows, too many for a file that people open ({plan.format.name}): narrow it "
            "with date_from and date_to, or take a format for machines (--format parquet, or --format csv --option "
            "profile=raw), or have EXPORT_MAX_RECORDS raised"
        )


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
