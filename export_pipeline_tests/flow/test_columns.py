"""The columns of a file: how they are read, what is refused, and what PostgreSQL computes of them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export_pipeline.datasets.campaign_results import DATASET
from export_pipeline.datasets.experiment_results import DATASET as EXPERIMENTS
from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.columns import choose_columns, split_columns
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.extract import open_source
from export_pipeline.flow.functions import FUNCTIONS
from export_pipeline.flow.plan import make_plan
from export_pipeline.model.access import Role, Scope, Sensitivity
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
    Type,
    decimal,
)
from export_pipeline.model.errors import Forbidden, Rejected
from export_pipeline.model.job import ExportRequest
from export_pipeline_tests.datasets.reading import ANALYST, MANAGER2, authorized, read

_ID = "6f1c1f6e-2d0a-5c0e-9a44-0f3f0f9f6a10"
_KINDS: dict[str, tuple[Type, str]] = {
    "place": (INTEGER, "int4"),
    "name": (TEXT, "varchar"),
    "other": (TEXT, "text"),
    "price": (decimal(12, 4), "numeric"),
    "part": (FLOAT, "float4"),
    "open": (BOOLEAN, "bool"),
    "day": (DATE, "date"),
    "at": (TIMESTAMP, "timestamptz"),
    "id": (UUID, "uuid"),
    "extra": (JSON, "jsonb"),
}
#: In Vienna the clock passes 02:30 twice on 2010-10-31, and never on 2010-03-28.
_ROWS = (
    ("1", "Zoë o'Hara", "x", "9.9950", "0.1", "true", "2010-11-17", "2010-10-31T00:30:00Z", _ID, "{}"),
    ("2", "", None, "-9.9950", "NaN", "false", None, "2010-10-31T01:30:00Z", None, None),
    (None, None, "y", None, None, None, "2010-01-01", "2010-03-28T01:00:00Z", None, None),
    ("30", "b\\c", "%s", "20", "Infinity", None, None, None, None, None),
)


def _source() -> str:
    def cell(text: str | None, kind: str) -> str:
        quoted = "NULL" if text is None else "'" + text.replace("'", "''") + "'"
        return f"{quoted}::{kind}"

    kinds = [kind for _, kind in _KINDS.values()]
    rows = (", ".join(map(cell, row, kinds)) for row in _ROWS)
    values = ", ".join(f"({number}, {row})" for number, row in enumerate(rows))
    return f"(VALUES {values}) AS t (line, {', '.join(_KINDS)})"


TYPES = Dataset(
    name="types",
    title="Types",
    description="",
    source=_source(),
    # The tests' database has the locale C, which knows the capitals of English only: a dataset can say otherwise.
    columns=tuple(
        Column(name, kind, f"t.{name}{' COLLATE pg_c_utf8' if name == 'name' else ''}", f"The {name}.", example="e")
        for name, (kind, _) in _KINDS.items()
    ),
    filters=(),
    order_by="line",
    access={Role.ADMIN: Scope.ALL},
)


def rows_of(engine: Engine, dataset: Dataset, columns: Sequence[str]) -> pl.DataFrame:
    """What is read of the dataset, with nobody's rights."""
    request = ExportRequest(dataset.name, "", columns=tuple(columns), format="parquet")
    plan = make_plan(replace(engine, datasets={dataset.name: dataset}), request)
    plan = replace(plan, selection=plan.selection.reaching(Scope.ALL))
    with open_source(engine, [plan], Attempt("read", 1)) as opened, opened.read(plan) as rows:
        return pl.concat([rows.schema.to_frame(), *rows.batches])


def chosen(text: str, dataset: Dataset = TYPES) -> Column:
    [column] = choose_columns(dataset, (text,))
    return column


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("upper(name)", TEXT, ["ZOË O'HARA", "", None, "B\\C"]),
        ("LOWER(name)", TEXT, ["zoë o'hara", "", None, "b\\c"]),
        ("round(price, 2)", decimal(11, 2), [Decimal("10.00"), Decimal("-10.00"), None, Decimal("20.00")]),
        ("round(price, 10)", decimal(13, 4), [Decimal("9.9950"), Decimal("-9.9950"), None, Decimal("20.0000")]),
        ("round(place, 0)", INTEGER, [1, 2, None, 30]),
        ("concat(name, ' ', other, 1.50)", TEXT, ["Zoë o'Hara x1.50", " 1.50", " y1.50", "b\\c %s1.50"]),
        ("concat(open, day)", TEXT, ["true2010-11-17", "false", "2010-01-01", ""]),
        ("concat(price, '')", TEXT, ["9.9950", "-9.9950", "", "20.0000"]),
        ("concat(id, '|', place)", TEXT, [f"{_ID}|1", "|2", "|", "|30"]),
        ("concat(part, '')", TEXT, ["0.1", "NaN", "", "Infinity"]),
        ("coalesce(name, other)", TEXT, ["Zoë o'Hara", "", "y", "b\\c"]),
        ("coalesce(other, 'it''s \"\\')", TEXT, ["x", "it's \"\\", "y", "%s"]),
        ("coalesce(place, 7)", INTEGER, [1, 2, 7, 30]),
        ("coalesce(price, 0.12345)", decimal(13, 5), ["9.99500", "-9.99500", "0.12345", "20.00000"]),
        ("coalesce(price, place)", decimal(23, 4), ["9.9950", "-9.9950", None, "20.0000"]),
        ("coalesce(part, -1)", FLOAT, [0.1, float("nan"), -1.0, float("inf")]),
        ("coalesce(open, false)", BOOLEAN, [True, False, False, False]),
        (
            "coalesce(id, '00000000-0000-0000-0000-000000000000')",
            UUID,
            [_ID, *["00000000-0000-0000-0000-000000000000"] * 3],
        ),
        ("bucket(place, 2, 30)", TEXT, ["<2", "2–30", None, "≥30"]),
        ("bucket(price, -9.995, 0.5)", TEXT, ["≥0.5", "-9.995–0.5", None, "≥0.5"]),
        ("bucket(part, 0.1)", TEXT, ["≥0.1", None, None, "≥0.1"]),
        ("date(at)", DATE, [date(2010, 10, 31), date(2010, 10, 31), date(2010, 3, 28), None]),
        ("date(at, 'Pacific/Auckland')", DATE, [date(2010, 10, 31), date(2010, 10, 31), date(2010, 3, 28), None]),
        ("date(at, 'America/New_York')", DATE, [date(2010, 10, 30), date(2010, 10, 30), date(2010, 3, 27), None]),
        ("hour(at)", INTEGER, [0, 1, 1, None]),
        ("hour(at, 'Europe/Vienna')", INTEGER, [2, 2, 3, None]),
        ("hour(at, 'Asia/Kolkata')", INTEGER, [6, 7, 6, None]),
    ],
)
def test_function_when_computed_then_the_values_are_those_expected(
    sample_engine: Engine, text: str, kind: Type, expected: list[Any]
) -> None:
    column = chosen(f"{text} as n")
    assert column.type == kind
    if kind.scale:
        expected = [None if value is None else Decimal(value) for value in expected]
    assert str(rows_of(sample_engine, TYPES, [f"{text} as n"])["n"].to_list()) == str(expected)


def test_round_when_of_floats_then_by_the_digits_that_people_see(sample_engine: Engine) -> None:
    # The nearest double to 2.675 is below it, so binary rounding would give 2.67.
    dataset = replace(TYPES, source="(VALUES (1, 2.675::float8), (2, 'NaN'), (3, '-Infinity')) AS t (line, part)")
    found = rows_of(sample_engine, dataset, ["round(part, 2) as n"])["n"].to_list()
    assert str(found) == "[2.68, nan, -inf]"


def test_coalesce_when_of_dates_and_moments_then_the_text_is_one(sample_engine: Engine) -> None:
    texts = ["coalesce(day, '2000-02-29') as d", "coalesce(at, '2010-01-01T00:00:00+01:00') as m"]
    found = rows_of(sample_engine, TYPES, texts)
    assert found["d"].to_list()[1] == date(2000, 2, 29)
    assert found["m"].to_list()[3] == datetime(2009, 12, 31, 23, tzinfo=UTC)


def test_columns_when_renamed_and_moved_then_the_rows_keep_their_order(sample_engine: Engine) -> None:
    # A column of the person's with the name that the dataset is ordered by must not become the order.
    found = rows_of(
        sample_engine, TYPES, ["place as \"Full, 'name'\"", "name", "price as line", "upper(name) as name2"]
    )
    assert found.columns == ["Full, 'name'", "name", "line", "name2"]
    assert found["Full, 'name'"].to_list() == [1, 2, None, 30]
    assert found["line"].to_list()[0] == Decimal("9.9950")


def test_column_when_renamed_then_keeps_all_but_its_name() -> None:
    column, renamed = DATASET.column("cost_usd"), chosen("cost_usd AS costs", DATASET)
    assert column is not None
    assert renamed == replace(column, name="costs", of=("cost_usd",))
    assert (renamed.source_name, renamed.computed) == ("cost_usd", False)


def test_column_when_computed_then_is_as_sensitive_as_the_most_sensitive_of_its_parts() -> None:
    column = chosen("concat(campaign_name, ': ', phone, name) as n", DATASET)
    assert (column.sensitivity, column.of) == (Sensitivity.PERSONAL, ("campaign_name", "phone", "name"))
    assert column.computed and column.description == "Computed: concat(campaign_name, ': ', phone, name)."
    assert chosen("upper(campaign_name) as n", DATASET).sensitivity is Sensitivity.INTERNAL
    secret = replace(TYPES, columns=tuple(replace(item, sensitivity=Sensitivity.SECRET) for item in TYPES.columns))
    assert chosen("hour(at) as n", secret).sensitivity is Sensitivity.SECRET


def test_column_when_renamed_then_masked_as_under_its_own_name(sample_engine: Engine) -> None:
    selection = authorized(sample_engine, "leads", email=ANALYST, columns=("email as n",)).selection
    assert selection.masked == {"n": "mask"}


@pytest.mark.parametrize("column", ["upper(email) as n", "coalesce(title, email) as title"])
def test_column_when_made_of_what_the_role_may_not_see_then_refused(sample_engine: Engine, column: str) -> None:
    assert authorized(sample_engine, "leads", columns=(column,)).columns
    with pytest.raises(Forbidden, match=r"cannot be computed in the role analyst: \w+ does not leave as it is"):
        authorized(sample_engine, "leads", email=ANALYST, columns=(column,))


def test_columns_when_the_dataset_derives_some_then_chosen_and_renamed_beside_computed_ones(
    sample_engine: Engine,
) -> None:
    named = ("p_value as p", "upper(variant) as capitals", "experiment", "mean as metric")
    found = read(sample_engine, "experiment_results", email=MANAGER2, columns=named)
    plain = read(sample_engine, "experiment_results", email=MANAGER2)
    assert found.columns == ["p", "capitals", "experiment", "metric"] and found.height > 1
    for name, original in (("p", "p_value"), ("experiment", "experiment"), ("metric", "mean")):
        assert found[name].to_list() == plain[original].to_list()
    assert found["capitals"].to_list() == [text.upper() for text in plain["variant"]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("round(p_value, 2) as p", "p_value can be chosen and renamed, but not be computed with"),
        ("coalesce(sample_ratio_mismatch, false) as ok", "sample_ratio_mismatch can be chosen and renamed"),
        ("upper(variant) as metric", "metric is a column of experiment_results; name upper(variant) otherwise"),
    ],
)
def test_column_when_the_dataset_derives_it_then_not_computed_with(text: str, told: str) -> None:
    with pytest.raises(Rejected) as refused:
        choose_columns(EXPERIMENTS, (text,))
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["nme"], "types has no column 'nme'; it has: place, name"),
        (["upper(nme) as n"], "types has no column 'nme'"),
        (['hour(at, "UTC") as n'], "\"UTC\" is no column, and a text is in 'single quotes'"),
        (["name", "other as name"], "two columns would be called 'name'"),
        (["name", "name"], "the column 'name' is asked for twice"),
        (['name as "*"'], "the name * means something else"),
        (['name as "^phone$"'], "the name ^phone$ means something else"),
        (['upper(name) as "^token$"'], "the name ^token$ means something else"),
        (['name as "$owned"'], "the name $owned means something else"),
        (["upper(name)"], "upper(name) needs a name: upper(name) as other_name"),
        (["sum(price) as n"], "there is no function 'sum'; there are: date, hour, upper"),
        (["upper(lower(name)) as n"], "functions cannot be put into each other"),
        (["upper(place) as n"], "upper(place): it takes one column of type text; it is written as in upper(name)"),
        (["upper(name, other) as n"], "it takes one column of type text"),
        (["upper('x') as n"], "it needs a column to compute from"),
        (["hour(day) as n"], "hour(day): it takes a timestamp and perhaps a time zone"),
        (["hour(at, 'UTC', 'UTC') as n"], "it takes a timestamp and perhaps a time zone"),
        (["date(at, 'Vienna') as n"], "'Vienna' is not the IANA name of a time zone"),
        (["date(at, name) as n"], "is not the IANA name of a time zone"),
        (["date(at, '../../etc/passwd') as n"], "is not the IANA name of a time zone"),
        (["round(price) as n"], "it takes a number and how many digits"),
        (["round(name, 2) as n"], "the first argument is a column with numbers"),
        (["round(price, -1) as n"], "the second argument is a whole number from 0 to 10"),
        (["round(price, 1.5) as n"], "the second argument is a whole number from 0 to 10"),
        (["round(price, true) as n"], "the second argument is a whole number from 0 to 10"),
        (["round(price, place) as n"], "the second argument is a whole number from 0 to 10"),
        (["concat(name) as n"], "it takes two values or more"),
        (["concat(name, extra) as n"], "it does not take JSON"),
        (["coalesce(extra, '{}') as n"], "it does not take JSON"),
        (["coalesce(name, price) as n"], "its columns are of different types (decimal, text)"),
        (["coalesce(part, price) as n"], "its columns are of different types (decimal, float)"),
        (["coalesce(name, 1) as n"], "1 is not of its columns' type, which is text"),
        (["coalesce(place, '1') as n"], "'1' is not of its columns' type, which is integer"),
        (["coalesce(place, 1.5) as n"], "1.5 is not of its columns' type, which is integer"),
        (["coalesce(place, 9223372036854775808) as n"], "is not of its columns' type, which is integer"),
        (["coalesce(open, 1) as n"], "1 is not of its columns' type, which is boolean"),
        (["coalesce(day, 'never') as n"], "'never' is not of its columns' type, which is date"),
        (["coalesce(id, 'x') as n"], "'x' is not of its columns' type, which is uuid"),
        (["bucket(name, 1) as n"], "the first argument is a column with numbers"),
        (["bucket(price) as n"], "after the column come 1 to 20 numbers"),
        (["bucket(price, 'x') as n"], "after the column come 1 to 20 numbers"),
        (["bucket(price, 2, 1) as n"], "the numbers ascend, and none comes twice"),
        (["bucket(price, 1, 1.0) as n"], "the numbers ascend, and none comes twice"),
        (["name as"], "the new name is missing"),
        (["name n"], "n is not expected there"),
        (["name as n m"], "m is not expected after the name"),
        (["name as 'n'"], "the new name is missing"),
        (['name as ""'], "a name has no control characters"),
        (['name as " n"'], "a name has no control characters, and no spaces at its ends"),
        (['name as "a\nb"'], "a name has no control characters"),
        (['name as "a\u202eb"'], "a name has no control characters"),
        ([f"name as {'ä' * 32}"], "is longer than 63 bytes in UTF-8"),
        (['name as "\udcff"'], "it holds a character that no database holds"),
        (["concat(name, 'a\0b') as n"], "it holds a character that no database holds"),
        (["upper(name as n"], "a comma or a closing parenthesis is missing"),
        (["upper( as n"], "types has no column 'as'"),
        (["upper() as n"], "an argument is missing"),
        ([""], "a column is missing"),
        (["*"], "* cannot be read"),
        (["bucket(price, 1e5) as n"], "1e5"),
        ([f"coalesce(price, {'9' * 39}) as n"], "cannot be read"),
        (["x" * 3_000], "is longer than 2,000 characters"),
        (["name"] * 1_001, "1,001 columns are asked for, and a file can have 1,000"),
    ],
)
def test_columns_when_wrong_then_one_sentence_says_what(texts: list[str], told: str) -> None:
    with pytest.raises(Rejected) as refused:
        choose_columns(TYPES, texts)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "name; DROP TABLE calls",
        "name--",
        "name/**/as/**/n",
        "(SELECT 1) as n",
        "t.name as n",
        "name::text as n",
        "upper(name) || 'x' as n",
        "pg_sleep(10) as n",
        "upper(pg_sleep(10)) as n",
        "name as n, (SELECT 1) AS m",
        "concat(name, 'x' || version()) as n",
        "$1",
        "%s",
        "{where}",
    ],
)
def test_columns_when_they_hold_sql_then_refused(text: str) -> None:
    with pytest.raises(Rejected):
        choose_columns(TYPES, (text,))


@pytest.mark.parametrize(
    "text", ["'); DROP TABLE x; --", "\\'; SELECT 1", "$$x$$", "%(a)s {where} {}", "E'\\x41'", '";']
)
def test_texts_and_names_when_they_look_like_sql_then_are_delivered_as_they_are(
    sample_engine: Engine, text: str
) -> None:
    literal, name = text.replace("'", "''"), text.replace('"', '""')
    columns = [f"coalesce(other, '{literal}') as \"{name}\"", f"concat(name, '{literal}') as n"]
    found = rows_of(sample_engine, TYPES, columns)
    assert found.columns == [text, "n"]
    assert found[text].to_list()[1] == text
    assert found["n"].to_list()[2] == text


_NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)
_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(_NAMES, st.lists(_TEXTS, min_size=1, max_size=3))
def test_columns_when_any_names_and_texts_then_read_as_they_were_written(name: str, texts: list[str]) -> None:
    literals = ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
    quoted = name.replace('"', '""')
    written = [f'concat(name, {literals}) as "{quoted}"', "place", f'bucket(price, 1, 2)as"{quoted}2"']
    assert split_columns(" , ".join(written)) == tuple(written)
    first, second, third = choose_columns(TYPES, split_columns(",".join(written)))
    assert (first.name, second.name, third.name) == (name, "place", f"{name}2")
    assert first.description == f"Computed: concat(name, {literals})."


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.text(st.sampled_from("name price upper concat(),'\"1. as\\-;%{}\n")))
def test_columns_when_any_text_then_columns_or_a_refusal(text: str) -> None:
    try:
        found = choose_columns(TYPES, split_columns(text))
    except Rejected:
        return
    assert len({column.name for column in found}) == len(found)


def test_list_when_split_then_at_commas_outside_parentheses_and_quotes() -> None:
    assert split_columns(" a , concat(b, ', ', c) as \"d, e\",, f ") == ("a", "concat(b, ', ', c) as \"d, e\"", "f")


def test_function_when_listed_then_its_example_is_read() -> None:
    columns = (
        *TYPES.columns,
        *(Column(name, TEXT, name, "") for name in ("email", "phone", "first_name", "last_name")),
    )
    dataset = replace(TYPES, columns=(*columns, Column("started_at", TIMESTAMP, "at", "")))
    for name, function in FUNCTIONS.items():
        assert chosen(f"{function.example} as n", dataset).description == f"Computed: {function.example}."
        assert function.example.startswith(f"{name}(")


def test_recurring_export_when_it_asks_for_a_computed_column_then_refused(sample_engine: Engine) -> None:
    request = ExportRequest("campaign_results", "", {"campaign_id": _ID}, ("upper(name) as n",), recurring=True)
    with pytest.raises(Rejected, match="n: a recurring export is read from extracts"):
        make_plan(sample_engine, request)
    assert make_plan(sample_engine, replace(request, columns=("name as n",))).columns[0].name == "n"
