"""Conditions against real PostgreSQL: every operator and type, compared with the same question asked in Python."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from psycopg import sql

from export_pipeline.embedded.sample import sample_id
from export_pipeline.flow.conditions import OPERATORS, parse_conditions
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.patterns import check_patterns
from export_pipeline.flow.plan import make_plan
from export_pipeline.flow.query import select
from export_pipeline.flow.request import authorize_plan
from export_pipeline.flow.source import Source
from export_pipeline.model.access import Principal, Role, Scope, Sensitivity
from export_pipeline.model.condition import Comparison, Operator, parse_condition
from export_pipeline.model.dataset import (
    BOOLEAN,
    DATE,
    FLOAT,
    INTEGER,
    JSON,
    TEXT,
    TIMESTAMP,
    UUID,
    Column,
    Dataset,
    Kind,
    decimal,
)
from export_pipeline.model.errors import Broken, Forbidden, Rejected
from export_pipeline.model.job import ExportRequest
from export_pipeline_tests.datasets.reading import ADMIN, ANALYST, read_source

TEXTS = (
    "new",
    "New",
    "100%",
    "100 x",
    "A_7",
    "A97",
    "c:\\temp",
    "it's",
    'say "x"',
    "é😀",
    "",
    "and",
    "(a)",
    "a,b",
    "new new",
)
DAY, MOMENT = date(2010, 1, 1), datetime(2010, 1, 1, 12, tzinfo=UTC)
DOCUMENTS: tuple[Any, ...] = (
    {"n": 5, "s": "5", "b": True, "deep": {"key.x": "new"}},
    {"n": 5.50, "s": "new"},
    {"n": "5", "s": None, "b": "true"},
    {"n": -1e3, "s": "New 100%", "b": False},
    {},
    [1, 2],
)


def _rows() -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = [
        (
            number,
            text,
            f"00000000-0000-4000-8000-{number:012}",
            number - 7,
            Decimal(number * 25 - 100) / 100,
            (number - 3) / 10,
            number % 2 == 0,
            DAY + timedelta(days=number),
            MOMENT + timedelta(hours=number),
            json.dumps(DOCUMENTS[number % len(DOCUMENTS)]),
        )
        for number, text in enumerate(TEXTS)
    ]
    return [*rows, (len(rows), *(None,) * 9)]


ROWS = _rows()
NAMES = ("n", "txt", "uid", "whole", "dec", "flt", "flag", "day", "moment", "doc")
TYPES = (INTEGER, TEXT, UUID, INTEGER, decimal(12, 2), FLOAT, BOOLEAN, DATE, TIMESTAMP, JSON)
CASTS = ("int", "text", "uuid", "bigint", "numeric", "float8", "bool", "date", "timestamptz", "jsonb")
ADMINS = {Role.ADMIN: Scope.ALL}


def _source() -> str:
    lines = sql.SQL(", ").join(
        sql.SQL("({})").format(
            sql.SQL(", ").join(
                sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(cast))
                for value, cast in zip(row, CASTS, strict=True)
            )
        )
        for row in ROWS
    )
    return f"(VALUES {lines.as_string()}) AS t ({', '.join(NAMES)})"


THINGS = Dataset(
    name="things",
    title="Things",
    description="",
    source=_source(),
    columns=tuple(Column(name, kind, f"t.{name}", "") for name, kind in zip(NAMES, TYPES, strict=True)),
    filters=(),
    order_by="t.n",
    access=ADMINS,
)


@pytest.fixture(scope="module")
def things(sample_engine: Engine) -> Engine:
    """An engine with a dataset that holds every type."""
    return replace(sample_engine, datasets={**sample_engine.datasets, "things": THINGS})


def found(engine: Engine, *conditions: str, dataset: Dataset = THINGS) -> list[int]:
    """The numbers of the rows that the conditions select, asked as a plan does."""
    rows = select(dataset, {}, (), conditions=conditions).reaching(Scope.ALL).rows()
    with engine.source.connect() as connection:
        query = sql.SQL("SELECT t.n {} ORDER BY 1").format(rows)
        return [row[0] for row in connection.execute(query).fetchall()]


def holds(name: str, test: Callable[[Any], bool], *, without_value: bool = False) -> list[int]:
    """The numbers of the rows of which the test holds; of those without a value, what is said."""
    place = NAMES.index(name)
    return [row[0] for row in ROWS if (without_value if row[place] is None else test(row[place]))]


def quoted(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


COLUMNS = dict(zip(NAMES, TYPES, strict=True))
NEGATIVE = {Operator.NE, Operator.NOT_IN, Operator.NOT_CONTAINS}
TESTS: dict[Operator, Callable[[Any, Any, Any], bool]] = {
    Operator.EQ: lambda value, a, _: value == a,
    Operator.NE: lambda value, a, _: value != a,
    Operator.GT: lambda value, a, _: value > a,
    Operator.GTE: lambda value, a, _: value >= a,
    Operator.LT: lambda value, a, _: value < a,
    Operator.LTE: lambda value, a, _: value <= a,
    Operator.IN: lambda value, a, b: value in (a, b),
    Operator.NOT_IN: lambda value, a, b: value not in (a, b),
    Operator.CONTAINS: lambda value, a, _: a in value,
    Operator.NOT_CONTAINS: lambda value, a, _: a not in value,
    Operator.STARTS_WITH: lambda value, a, _: value.startswith(a),
    Operator.ENDS_WITH: lambda value, a, _: value.endswith(a),
    Operator.BETWEEN: lambda value, a, b: a <= value <= b,
    Operator.MATCHES: lambda value, a, _: re.search(re.escape(a), value) is not None,
}
EVERY = [
    (name, operator)
    for name, kind in COLUMNS.items()
    for operator in OPERATORS[kind.kind]
    if kind.kind is not Kind.JSON and operator in TESTS
]


@pytest.mark.parametrize(("name", "operator"), EVERY, ids=str)
def test_operator_when_any_value_of_the_type_then_the_rows_that_python_finds(
    things: Engine, name: str, operator: Operator
) -> None:
    values = [row[NAMES.index(name)] for row in ROWS if row[NAMES.index(name)] is not None]
    for a, b in zip(values, [*values[1:], values[-1]], strict=True):
        low, high = (min(a, b), max(a, b)) if operator is Operator.BETWEEN else (a, b)
        said = {
            Operator.IN: f"{quoted(low)}, {quoted(high)}",
            Operator.NOT_IN: f"({quoted(low)}, {quoted(high)})",
            Operator.BETWEEN: f"{quoted(low)} and {quoted(high)}",
            Operator.MATCHES: quoted(re.escape(str(a))),
        }.get(operator, quoted(a))
        expected = holds(name, lambda value: TESTS[operator](value, low, high), without_value=operator in NEGATIVE)  # noqa: B023
        assert found(things, f"{name} {operator} {said}") == expected, said


def test_null_when_asked_for_then_rows_without_a_value(things: Engine) -> None:
    nulls = [ROWS[-1][0]]
    for name in NAMES[1:]:
        assert found(things, f"{name} is_null") == nulls
        assert found(things, f"{name} is_not_null") == [row[0] for row in ROWS[:-1]]
    everything = [row[0] for row in ROWS]
    for positive, negative in (("eq", "ne"), ("in", "not_in"), ("contains", "not_contains")):
        # What does not hold, holds with the opposite operator: together they are all rows.
        assert sorted(found(things, f"txt {positive} new") + found(things, f"txt {negative} new")) == everything


def test_groups_when_joined_then_as_in_python(things: Engine) -> None:
    text = "(whole gte 0 or txt starts_with 100) and not_null"
    with pytest.raises(Rejected, match="no operator"):
        found(things, text)
    by_hand = [row[0] for row in ROWS[:-1] if (row[3] >= 0 or row[1].startswith("100")) and row[6]]
    assert found(things, "(whole gte 0 or txt starts_with 100) and flag eq true") == by_hand
    assert found(things, "whole gte 0 or txt starts_with 100", "flag eq true") == by_hand


@pytest.mark.parametrize(
    ("condition", "test"),
    [
        ("doc.n eq 5", lambda d: d.get("n") == 5),
        ("doc.n eq 5.5", lambda d: d.get("n") == 5.5),
        ("doc.n lt 0", lambda d: d.get("n") == -1000),
        ("doc.n between -1000 and 5", lambda d: d.get("n") in (5, -1000) and not isinstance(d["n"], str)),
        ("doc.n in 5,5.50", lambda d: d.get("n") in (5, 5.5) and not isinstance(d["n"], str)),
        # As text, whatever it is there.
        ("doc.n eq '5'", lambda d: d.get("n") in (5, "5")),
        ("doc.b eq true", lambda d: d.get("b") is True),
        ("doc.b ne true", lambda d: d.get("b") is not True),
        ("doc.b eq 'true'", lambda d: d.get("b") in (True, "true")),
        ("doc.s contains 100%", lambda d: "100%" in (d.get("s") or "")),
        ("doc.s matches '^n'", lambda d: (d.get("s") or "").startswith("n")),
        ("doc.s is_null", lambda d: d.get("s") is None),
        ("doc.s is_not_null", lambda d: d.get("s") is not None),
        ("doc.s gt N", lambda d: (d.get("s") or "") > "N"),
        ('doc.deep."key.x" eq new', lambda d: d.get("deep", {}).get("key.x") == "new"),
        ("things.doc.deep.nothing.x eq new", lambda d: False),
        ("doc.deep contains key", lambda d: "deep" in d),
        ("doc contains key.x", lambda d: "deep" in d),
    ],
)
def test_property_when_compared_then_typed_by_the_value(
    things: Engine, condition: str, test: Callable[[Any], bool]
) -> None:
    rows = [row[0] for row in ROWS if test(value if isinstance(value := json.loads(row[9] or "{}"), dict) else {})]
    assert found(things, condition) == rows


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("color eq red", "things has no column 'color'; it has: n, txt, uid, whole"),
        ("contacts.txt eq red", "things has no column 'contacts'"),
        ("txt.x eq red", "txt.x: txt is text; only in a column of JSON are properties"),
        ("whole eq five", "whole='five' is not a whole number of 64 bits$"),
        ("whole eq 9223372036854775808", "is not a whole number"),
        ("dec eq 1e5000", "dec='1e5000' is not a decimal number"),
        ("dec gt NaN", "dec='NaN' is not a decimal number"),
        ("flt lt inf", "flt='inf' is not a finite number"),
        ("flag eq yes", "flag='yes' is not true or false"),
        ("day eq 2010-02-30", "day='2010-02-30' is not a date such as"),
        ("moment gt yesterday", "moment='yesterday' is not a date or a timestamp such as"),
        ("moment eq ''", "moment='' is not a date or a timestamp .*; rows without a value are found by is_null"),
        ("uid in 5", "uid='5' is not a UUID"),
        ("whole eq null", "whole='null' is not .*; rows without a value are found by is_null"),
        ("uid gt 5", "uid is uuid and cannot be compared by gt: it can by eq, ne, in, not_in, is_null, is_not_null"),
        ("flag contains t", "flag is boolean and cannot be compared by contains"),
        ("whole matches 5", "whole is integer and cannot be compared by matches: it can by eq, ne"),
        ("doc eq 5", "doc is json and cannot be compared by eq: it can by contains.*; or name a property in it"),
        ("whole between 5 and 1", "whole between 5 and 1: nothing lies between"),
        ("txt between b and a", "txt between b and a: nothing lies between"),
        ("day between 2010-01-02,2010-01-01", "nothing lies between"),
        ("txt in " + ",".join(map(str, range(1001))), "txt has 1,001 values, and can have 1,000"),
        ("txt eq 'a\0b'", "is not a text of Unicode without NUL"),
        ("txt eq \udc80", "is not a text of Unicode without NUL"),
        ("txt matches " + "a" * 1001, "the pattern for txt has more than 1,000 characters"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_condition_when_it_does_not_fit_the_column_then_told_what_does(condition: str, said: str) -> None:
    with pytest.raises(Rejected, match=said):
        parse_conditions(THINGS, [condition])


def test_conditions_when_too_many_together_then_refused() -> None:
    assert len(parse_conditions(THINGS, ["n gt 1"] * 100)) == 100
    with pytest.raises(Rejected, match="may have 100 conditions"):
        parse_conditions(THINGS, ["n gt 1 or n lt 1"] * 51)


def test_column_when_computed_after_reading_then_neither_filtered_nor_ordered(sample_engine: Engine) -> None:
    experiments = sample_engine.dataset("experiment_results")
    for name in ("p_value", "sample_ratio_mismatch"):
        with pytest.raises(Rejected, match=f"neither filtered nor ordered by {name}: it is computed after"):
            select(experiments, {}, (), conditions=(f"{name} is_null",))
        with pytest.raises(Rejected, match=f"neither filtered nor ordered by {name}"):
            select(experiments, {}, (), sort=(name,))


def test_column_when_computed_over_several_rows_then_a_condition_on_it_is_refused(sample_engine: Engine) -> None:
    ranked = replace(THINGS, columns=(*THINGS.columns, Column("rank", INTEGER, "rank() OVER (ORDER BY t.n)", "")))
    engine = replace(sample_engine, datasets={"things": ranked})
    with pytest.raises(Rejected, match="computed from several rows"):
        read_things(engine, "rank lt 3")


def read_things(engine: Engine, *conditions: str, **asked: Any) -> list[int]:
    request = ExportRequest("things", ADMIN, conditions=conditions, format="parquet", **asked)
    admin = Principal(sample_id("user", ADMIN), ADMIN, "admin", Role.ADMIN)
    plan, _ = authorize_plan(engine, admin, make_plan(engine, request))
    with read_source(engine, plan) as rows:
        return [number for batch in rows.batches for number in batch["n"]]


def test_conditions_when_read_as_an_export_then_the_same_rows(things: Engine) -> None:
    for condition in ("txt contains '%'", "txt eq 'it''s'", "doc.n gt 1", "moment gte 2010-01-02T00:00:00+01:00"):
        assert read_things(things, condition) == found(things, condition) != []


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "[[:nothing:]]", "*", "\\"])
def test_pattern_when_wrong_then_refused_before_anything_is_read(things: Engine, pattern: str) -> None:
    with pytest.raises(
        Rejected, match=r"txt matches '.*': it is no regular expression of PostgreSQL \(invalid regular"
    ):
        read_things(things, f"txt matches {quoted(pattern)}")


def test_pattern_when_it_would_run_for_ever_then_stopped(things: Engine) -> None:
    """The text is odd, so that no way to split it fits: PostgreSQL tries all of them, which takes hours."""
    source = Source(things.source.url, snapshot_seconds=1)
    long = replace(THINGS, columns=(*THINGS.columns, Column("long", TEXT, "repeat('a', 2001)", "")))
    engine = replace(things, source=source, datasets={"things": long})
    with pytest.raises(Broken, match="stopped the query"):
        read_things(engine, r"long matches '^(a+)(a+)(a+)(a+)\1\2\3\4$'")


def test_patterns_when_there_are_none_then_the_source_is_not_asked(things: Engine) -> None:
    unreachable = Source(things.source.url, snapshot_seconds=1)
    unreachable.url = type(things.source.url)("postgresql://127.0.0.1:1/none")
    check_patterns(unreachable, select(THINGS, {}, (), conditions=("txt eq a",)))


def test_personal_column_when_looked_at_then_refused_for_who_may_not_see_it(sample_engine: Engine) -> None:
    analyst = Principal(sample_id("user", ANALYST), ANALYST, "analyst", Role.ANALYST)
    for asked in ({"conditions": ("status eq new or email ends_with .org",)}, {"sort": ("phone desc",)}):
        request = ExportRequest("leads", ANALYST, format="parquet", **asked)  # type: ignore[arg-type]
        with pytest.raises(
            Forbidden, match=r"neither filtered nor ordered by (email|phone) in the role analyst: it is pers"
        ):
            authorize_plan(sample_engine, analyst, make_plan(sample_engine, request))


def test_personal_column_when_looked_at_then_its_value_is_told_nowhere(sample_engine: Engine) -> None:
    leads = sample_engine.dataset("leads")
    selection = select(leads, {}, (), conditions=("email eq 'jane@example.com' or status eq new",))
    assert selection.summary == {"where": "(email eq (not told) or status eq new)"}
    for condition, said in (
        ("n eq jane", "n: the value is not a whole number of 64 bits$"),
        ("n between 7 and 5", "n between the two values: nothing lies between"),
    ):
        columns = (replace(THINGS.columns[0], sensitivity=Sensitivity.PERSONAL), *THINGS.columns[1:])
        with pytest.raises(Rejected, match=said) as caught:
            parse_conditions(replace(THINGS, columns=columns), [condition])
        assert "jane" not in str(caught.value) and "7" not in str(caught.value)
    secret = replace(leads, columns=tuple(replace(item, sensitivity=Sensitivity.PERSONAL) for item in leads.columns))
    with pytest.raises(Rejected, match="title matches: it is no regular expression") as caught:
        check_patterns(sample_engine.source, select(secret, {}, (), conditions=("title matches 'jane('",)))
    assert "jane" not in str(caught.value)


ATTACKS = [
    *("' OR true --", "'; DROP TABLE users; --", "x') OR (true", "\\' OR 1=1 --", "' UNION SELECT email FROM users --"),
    *("{value}", "{where}", "{}", "%s", "%(a)s", "$1", "$$x$$", "'||pg_sleep(9)||'", '"users"', "NULL", "\\", "\\\\"),
    *(
        "é'\n; SELECT 1",
        "*/ OR true /*",
        "1 OR 1=1",
        "true",
        "now()",
        "(SELECT 1)",
        "E'\\x41'",
        "U&'\\0041'",
        "'",
        "''",
    ),
    *("'''", "--", "/*", ";", "1::text", "current_user", "ARRAY['a']", "{a,b}", '{"a":1}', "_", "%", "0x41", "a%"),
    *("a' COLLATE \"C\" OR 'a'='a", "%' OR '%'='", "A_", "\\%", "\\_7", "chr(65)", "NaN", "infinity", "1e309", "-0"),
]


def test_values_when_hostile_then_just_values_or_refused(things: Engine) -> None:
    """What is no value of the type is refused; a text is looked for as it is."""
    tried = 0
    operators = (Operator.EQ, Operator.NE, Operator.IN, Operator.GT, Operator.STARTS_WITH, Operator.CONTAINS)
    chosen = [
        (name, kind, item) for name, kind in COLUMNS.items() for item in operators if item in OPERATORS[kind.kind]
    ]
    for name, kind, operator in chosen:
        for attack in ATTACKS if kind is not JSON else ():
            for text in (f"{name} {operator} {quoted(attack)}", f"{name} {operator} {attack}"):
                tried += 1
                try:
                    tree = parse_condition(text)
                    hits = found(things, text)
                except Rejected:
                    continue
                assert isinstance(tree, Comparison)
                values = [value.text for value in tree.values]
                assert all(value.strip("'") in attack for value in values)
                if kind is TEXT:
                    without = operator is Operator.NE
                    assert hits == holds(name, partial(_holds, operator, values), without_value=without), text
                else:
                    assert attack in {BOOLEAN: ("true",), decimal(12, 2): ("-0", "1e309")}.get(kind, ("-0",))
    assert tried > 2000


def _holds(operator: Operator, values: list[str], value: str) -> bool:
    return value in values if operator is Operator.IN else TESTS[operator](value, values[0], None)


def test_names_when_hostile_then_refused() -> None:
    for attack in ATTACKS:
        for name in (attack, quoted(attack), f'"{attack}"', f"txt{attack}", f"t.n {attack}"):
            with pytest.raises(Rejected):
                select(THINGS, {}, (), conditions=(f"{name} eq 1",))
            with pytest.raises(Rejected):
                select(THINGS, {}, (), sort=(name,))


def test_keys_when_hostile_then_just_keys(things: Engine) -> None:
    for attack in ATTACKS:
        key = '"' + attack.replace('"', '""') + '"'
        assert found(things, f"doc.{key} eq 1", f"doc.deep.{key} is_not_null") == []


def test_recurring_export_when_it_has_conditions_then_refused(things: Engine) -> None:
    for changes in ({"conditions": ("n gt 1",)}, {"sort": ("n",)}, {"truncate": True}):
        request = ExportRequest("things", "service", recurring=True, **changes)  # type: ignore[arg-type]
        with pytest.raises(Rejected, match="recurring export"):
            make_plan(things, request)


def test_sort_when_asked_for_then_before_the_datasets_own_order_and_empty_last(things: Engine) -> None:
    down = sorted((row for row in ROWS[:-1]), key=lambda row: (not row[6], row[0]))
    assert read_things(things, sort=("flag desc",)) == [*(row[0] for row in down), ROWS[-1][0]]
    up = sorted((row for row in ROWS[:-1]), key=lambda row: (row[6], -row[3]))
    assert read_things(things, sort=("things.flag asc", "whole DESC")) == [*(row[0] for row in up), ROWS[-1][0]]
    assert read_things(things, sort=("whole desc",), filters={"limit": "2"}) == [14, 13]


@pytest.mark.parametrize(
    ("sort", "said"),
    [
        (("color",), "things has no column 'color'"),
        (("doc",), "no order by JSON"),
        (("doc.n",), "no order by JSON"),
        (("n", "n desc"), "names the column 'n' twice"),
        (("n down",), "is not a column, perhaps with asc or desc"),
        (("n; DROP TABLE users",), "is not a column"),
        (tuple("n" * 11), "has 11 columns, and can have 10"),
    ],
)
def test_sort_when_wrong_then_refused(sort: tuple[str, ...], said: str) -> None:
    with pytest.raises(Rejected, match=said):
        select(THINGS, {}, (), sort=sort)
