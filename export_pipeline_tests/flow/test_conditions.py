"""Conditions against real PostgreSQL: every operator and type, compared with the same question asked in Python."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from export_pipeline.flow.conditions import OPERATORS, parse_conditions
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.plan import make_plan
from export_pipeline.flow.query import select
from export_pipeline.model.access import Scope
from export_pipeline.model.condition import Operator
from export_pipeline.model.dataset import (
    INTEGER,
    Column,
    Kind,
)
from export_pipeline.model.errors import Rejected
from export_pipeline.model.job import ExportRequest
from export_pipeline_tests.flow.things import (
    COLUMNS,
    NAMES,
    NEGATIVE,
    ROWS,
    TESTS,
    THINGS,
    found,
    holds,
    quoted,
    read_things,
)

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


FOUR_BYTES = replace(
    THINGS,
    columns=tuple(
        replace(column, sql="(t.flt::float4)") if column.name == "flt" else column for column in THINGS.columns
    ),
)


@pytest.mark.parametrize("operator", OPERATORS[Kind.FLOAT])
def test_float_when_of_four_bytes_then_compared_as_it_is_shown(things: Engine, operator: Operator) -> None:
    if operator not in TESTS:
        return
    for a, b in ((0.1, 0.7), (-0.3, 0.2), (1.1, 1.1), (1e-300, 1e300), (0.0, 0.123456789012)):
        said = {Operator.BETWEEN: f"{a} and {b}", Operator.IN: f"{a},{b}", Operator.NOT_IN: f"{a},{b}"}
        expected = holds("flt", lambda value: TESTS[operator](value, a, b), without_value=operator in NEGATIVE)  # noqa: B023
        for dataset in (THINGS, FOUR_BYTES):
            text = f"flt {operator} {said.get(operator, a)}"
            assert found(things, text, dataset=dataset) == expected, text


#: Both ends of what four bytes hold, as they are exported, and their neighbours; as text, by number.
ENDS = (
    "-3.4028235e38",
    "-1e-45",
    "0",
    "1e-45",
    "3e-45",
    "1.1754942e-38",
    "1.1754944e-38",
    "3.4028233e38",
    "3.4028235e38",
)
AT_THE_ENDS = replace(
    THINGS,
    source=f"(VALUES {', '.join(f'({n}, {text!r}::float4)' for n, text in enumerate(ENDS))}) AS t (n, flt)",
    columns=tuple(column for column in THINGS.columns if column.name in ("n", "flt")),
)
#: Numbers that four bytes do not hold, close by.
BESIDE = ("-3.5e38", "-1e-46", "7e-46", "8e-46", "2e-45", "3.4028236e38", "1e300", "5e-324")


@pytest.mark.parametrize("operator", [operator for operator in OPERATORS[Kind.FLOAT] if operator in TESTS])
def test_float_when_at_the_ends_of_four_bytes_then_compared_as_it_is_shown(things: Engine, operator: Operator) -> None:
    rows = [float(text) for text in ENDS]
    for a, b in [*zip((*ENDS, *BESIDE), (*ENDS[1:], ENDS[-1], *BESIDE), strict=True), (ENDS[0], "1e-45")]:
        said = {Operator.BETWEEN: f"{a} and {b}", Operator.IN: f"{a},{b}", Operator.NOT_IN: f"{a},{b}"}
        text = f"flt {operator} {said.get(operator, a)}"
        expected = [n for n, value in enumerate(rows) if TESTS[operator](value, float(a), float(b))]
        assert found(things, text, dataset=AT_THE_ENDS) == expected, text


@pytest.mark.parametrize(
    ("columns", "asked", "said"),
    [
        (("whole as b",), {"conditions": ("n gt 1 and b eq 1",)}, "'b' is the file's name for whole: .*write whole"),
        (("whole as b",), {"conditions": ("things.b eq 1",)}, "'b' is the file's name for whole"),
        (("whole as b",), {"sort": ("b desc",)}, "the order look at the columns of things by their own names"),
        (("upper(txt) as b",), {"conditions": ("b eq A",)}, "'b' is computed for the file from txt: .*write txt"),
    ],
)
def test_column_when_looked_at_by_its_new_name_then_told_the_own_one(
    columns: tuple[str, ...], asked: dict[str, tuple[str, ...]], said: str
) -> None:
    with pytest.raises(Rejected, match=said):
        select(THINGS, {}, columns, **asked)


def test_column_when_its_new_name_is_another_columns_then_that_is_meant(things: Engine) -> None:
    rows = select(THINGS, {}, ("whole as n",), conditions=("n eq 3",)).reaching(Scope.ALL).rows()
    assert "t.n" in rows.as_string() and "t.whole" not in rows.as_string().partition("WHERE")[2]


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


def test_conditions_when_read_as_an_export_then_the_same_rows(things: Engine) -> None:
    for condition in ("txt contains '%'", "txt eq 'it''s'", "doc.n gt 1", "moment gte 2010-01-02T00:00:00+01:00"):
        assert read_things(things, condition) == found(things, condition) != []


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
