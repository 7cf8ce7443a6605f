"""The structures of JSON columns: found batch by batch, and the same as of all values at once."""

import json
from collections.abc import Sequence
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from export_pipeline.formats import _nested
from export_pipeline.formats._structure import structure_of


def structure(batches: Sequence[Sequence[str | None]]) -> Any:
    with duckdb.connect(config={"threads": "1"}) as connection:
        return structure_of(connection, [pa.record_batch({"j": pa.array(batch, pa.string())}) for batch in batches])


@pytest.mark.parametrize(
    "values",
    [
        ['{"b": 1}', None, '{"a": "x", "b": null}', "null", '{"c": {"d": [true]}, "a": "y"}'],
        ["1", "-1", "2"],
        ["1", "1.5", "-1"],
        ["18446744073709551615", "18446744073709551616"],
        ["[]", "[null]", "[[1]]", '[["x"], null]'],
        ["{}", '{"a": {}}', '{"a": {"b": 1}}', "{}"],
        ["{}", "[]", '{"a": 1}'],
        ['{"a": {}}', '{"a": 1}', '{"a": {"b": 1}}'],
        ['[{}, {"key": 1}]', "[{}]"],
        ['{"a": 1, "a": {}}', '{"a": {"k": 1}}'],
        ['"x"', "null", "true"],
    ],
    ids=str,
)
def test_structure_when_found_batch_by_batch_then_that_of_all(values: list[str | None]) -> None:
    with duckdb.connect() as connection:
        connection.register("everything", pa.table({"value": pa.array(values, pa.string())}))
        [[whole]] = connection.sql("SELECT json_group_structure(value::JSON) FROM everything").fetchall()

    for size in (1, 2, len(values)):
        found = structure([values[start : start + size] for start in range(0, len(values), size)])
        # Key by key in the same order. DuckDB does not tell an object without keys from what is of several types.
        assert json.dumps(found).replace("{}", '"JSON"') == json.dumps(json.loads(whole))


def test_structure_when_no_object_has_keys_then_not_of_several_types() -> None:
    assert structure([['{"a": {}, "b": [{}]}'], ['{"a": null}']]) == {"a": {}, "b": [{}]}
    assert structure([['{"a": {}}'], ['{"a": []}']]) == {"a": "JSON"}


def test_structure_when_an_object_is_a_map_of_many_keys_then_it_is_text_and_the_rest_is_not() -> None:
    values = [f'{{"id": {number}, "by_name": {{"name {number}": [1]}}}}' for number in range(300)]
    assert structure([values[:100], values[100:200], values[200:]]) == {"id": "UBIGINT", "by_name": "JSON"}
    assert structure([[f"[{','.join(values)}]"]]) == [{"id": "UBIGINT", "by_name": "JSON"}]


def test_rows_when_all_would_not_fit_then_they_are_structs_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_nested, "_MOST_MEMORY", "96MB")
    frame = pl.DataFrame({"j": [f'{{"a": "{"x" * 9_000}", "n": {number}}}' for number in range(3_000)]})

    with _nested.nested(frame.lazy(), ["j"]) as (shaped, shapes):
        assert shapes == {"j": {"a": "VARCHAR", "n": "UBIGINT"}}
        assert shaped.select(pl.col("j").struct.field("n").sum()).collect().item() == sum(range(3_000))
