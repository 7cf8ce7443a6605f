"""Every dataset can be asked by every operator that its columns' types have, and answers as Polars' rows say."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

import polars as pl
import psycopg
import pytest
from psycopg import sql

from export_pipeline.embedded.sample import LAST_CAMPAIGN
from export_pipeline.flow.conditions import OPERATORS, parse_conditions
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.query import select
from export_pipeline.model.access import Scope
from export_pipeline.model.condition import WITHOUT_VALUE, Operator
from export_pipeline.model.dataset import Column, Dataset, Kind
from export_pipeline.model.errors import Rejected
from export_pipeline_tests.contracts.test_datasets import DATASETS, required
from export_pipeline_tests.datasets.reading import read
from export_pipeline_tests.flow.things import NEGATIVE, TESTS, quoted


@pytest.fixture(scope="module")
def whole(sample_engine: Engine) -> dict[str, pl.DataFrame]:
    """All rows of each dataset, of some those of one campaign."""
    return {name: read(sample_engine, name, chosen(dataset)) for name, dataset in DATASETS.items()}


def chosen(dataset: Dataset) -> dict[str, str]:
    """Filters that leave a few thousand rows."""
    return {"campaign_id": LAST_CAMPAIGN} if dataset.name in ("calls", "contacts") else required(dataset)


def compared(dataset: Dataset, rows: pl.DataFrame) -> Iterator[tuple[Column, Any]]:
    """For each kind of column one that can be compared, with a value that it has."""
    seen = set()
    for column in dataset.columns:
        values = rows[column.name].drop_nulls()
        if column.type.kind in seen or dataset.is_derived(column) or values.is_empty():
            continue
        seen.add(column.type.kind)
        value = values.sort()[len(values) // 2]
        # Sums of floats may differ in their last digits from one query to the next: a value between two of them.
        yield column, round(value, 3) + 0.00005 if column.type.kind is Kind.FLOAT else value


def text_of(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)


def condition(column: Column, operator: Operator, value: Any) -> str:
    """The condition as text."""
    said = quoted(text_of(value))
    if operator in WITHOUT_VALUE:
        return f"{column.name} {operator}"
    if operator is Operator.BETWEEN:
        return f"{column.name} between {said} and {said}"
    if operator is Operator.MATCHES:
        return f"{column.name} matches '^{str(value)[0]}'" if str(value)[0].isalnum() else f"{column.name} matches '.'"
    return f"{column.name} {operator} {said}"


def holds(operator: Operator, value: Any, row: Any) -> bool:
    if operator in WITHOUT_VALUE or row is None:
        return (row is None) is (operator is Operator.IS_NULL or (row is None and operator in NEGATIVE))
    if operator is Operator.MATCHES:
        return bool(row.startswith(str(value)[0]) if str(value)[0].isalnum() else row)
    return TESTS[operator](row, value, value)


@pytest.mark.parametrize("name", DATASETS)
def test_operator_when_asked_of_a_dataset_then_the_rows_that_polars_finds(
    sample_engine: Engine, whole: dict[str, pl.DataFrame], name: str
) -> None:
    dataset = DATASETS[name]
    rows = whole[name]
    asked = [
        (column, operator, value, condition(column, operator, value))
        for column, value in compared(dataset, rows)
        for operator in OPERATORS[column.type.kind]
    ]
    # One query counts for all of them; the same predicates follow WHERE in an export.
    counts = sql.SQL(", ").join(
        sql.SQL("count(*) FILTER (WHERE {})").format(item.predicate)
        for item in parse_conditions(dataset, [text for *_, text in asked[:100]])
    )
    everything = select(dataset, chosen(dataset), ()).reaching(Scope.ALL).rows()
    with psycopg.connect(sample_engine.settings.source.get_secret_value()) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        found = connection.execute(sql.SQL("SELECT {} {}").format(counts, everything)).fetchone()
    assert found is not None
    for (column, operator, value, text), count in zip(asked, found, strict=False):
        if column.type.kind is Kind.JSON and operator not in WITHOUT_VALUE:
            continue  # of JSON the text is PostgreSQL's own
        expected = sum(holds(operator, value, row) for row in rows[column.name])
        assert count == expected, text


@pytest.mark.parametrize("name", DATASETS)
def test_conditions_when_exported_then_hold_for_every_row_and_leave_none_out(
    sample_engine: Engine, whole: dict[str, pl.DataFrame], name: str
) -> None:
    dataset = DATASETS[name]
    rows = whole[name]
    column, value = next(item for item in compared(dataset, rows) if item[0].type.kind in (Kind.TEXT, Kind.UUID))
    texts = (f"{column.name} eq {quoted(value)} or {column.name} is_null", f"{name}.{column.name} ne 'nothing'")
    if column.type.kind is Kind.UUID:
        texts = texts[:1]
    some = read(sample_engine, name, chosen(dataset), conditions=texts)
    expected = rows.filter((pl.col(column.name) == value) | pl.col(column.name).is_null())
    assert 0 < some.height == expected.height
    assert some[column.name].equals(expected[column.name])


@pytest.mark.parametrize("name", DATASETS)
def test_sort_when_asked_for_then_the_same_rows_in_that_order(
    sample_engine: Engine, whole: dict[str, pl.DataFrame], name: str
) -> None:
    dataset = DATASETS[name]
    column = next(item for item in dataset.columns if item.type.kind in (Kind.DATE, Kind.TIMESTAMP, Kind.INTEGER))
    filters, rows = chosen(dataset), whole[name]
    sorted_rows = read(sample_engine, name, filters, sort=(f"{column.name} desc",))
    expected = rows[column.name].sort(descending=True, nulls_last=True)
    assert sorted_rows[column.name].equals(expected)
    # Among equals, the dataset's own order.
    own = rows.with_row_index("place").sort(column.name, descending=True, nulls_last=True, maintain_order=True)
    text = next(item.name for item in dataset.columns if item.type.kind in (Kind.TEXT, Kind.UUID))
    assert sorted_rows[text].equals(own[text])


@pytest.mark.parametrize("name", DATASETS)
def test_conditions_when_unknown_then_every_column_is_named(name: str) -> None:
    dataset = DATASETS[name]
    with pytest.raises(Rejected) as caught:
        select(dataset, required(dataset), (), conditions=("colour eq red",))
    assert all(column.name in str(caught.value) for column in dataset.columns)
