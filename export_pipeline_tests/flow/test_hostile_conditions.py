"""Conditions that are meant to do harm: patterns that run for ever, values and names that try to be SQL."""

from dataclasses import replace
from functools import partial

import pytest

from export_pipeline.embedded.sample import sample_id
from export_pipeline.flow.conditions import OPERATORS, parse_conditions
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.patterns import check_patterns
from export_pipeline.flow.plan import make_plan
from export_pipeline.flow.query import select
from export_pipeline.flow.request import authorize_plan
from export_pipeline.flow.source import Source
from export_pipeline.model.access import Principal, Role, Sensitivity
from export_pipeline.model.condition import Comparison, Operator, parse_condition
from export_pipeline.model.dataset import BOOLEAN, JSON, TEXT, Column, decimal
from export_pipeline.model.errors import Broken, Forbidden, Rejected
from export_pipeline.model.job import ExportRequest
from export_pipeline_tests.datasets.reading import ANALYST
from export_pipeline_tests.flow.things import COLUMNS, TESTS, THINGS, found, holds, quoted, read_things


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
            Forbidden,
            match=r"neither filtered nor ordered by (email|phone) in the role analyst: what it looks at is pers",
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
