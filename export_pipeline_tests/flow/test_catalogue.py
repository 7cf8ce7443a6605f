"""The catalogue says of every dataset what its file says."""

import pytest

from export_pipeline.flow.catalogue import OPERATORS, entry_of, functions
from export_pipeline.flow.functions import FUNCTIONS
from export_pipeline.model.access import Role
from export_pipeline.model.dataset import Dataset, Kind
from export_pipeline.orchestration.reporting import described
from export_pipeline.registry import load_parts

DATASETS = load_parts("export_pipeline.datasets", "DATASET", Dataset)


@pytest.mark.parametrize("name", DATASETS)
def test_entry_when_made_then_complete_and_the_same_in_dagster(name: str) -> None:
    dataset = DATASETS[name]
    entry = entry_of(dataset)
    assert [(item.name, item.type, item.sensitivity) for item in entry.columns] == [
        (column.name, str(column.type), column.sensitivity.value) for column in dataset.columns
    ]
    for item, column in zip(entry.columns, dataset.columns, strict=True):
        assert item.description and ("is_null" in item.operators) is not dataset.is_derived(column)
    assert all(
        item.example for item in entry.columns if item.type not in ("text", "json") and "decimal" not in item.type
    )
    told = {item.name for item in entry.filters}
    assert {item.name for item in dataset.filters} < told and "limit" in told
    assert ("date_from" in told) == bool(dataset.date_column)
    assert ("ids" in told) == bool(dataset.key)
    assert Role.SERVICE not in entry.access and set(entry.access) < set(Role)
    text = described(dataset)
    assert all(f"| `{item.name}` | {item.type} | {item.sensitivity} |" in text for item in entry.columns)
    assert all(f"| `{item.name}` | {item.takes} |" in text for item in entry.filters)


def test_operators_when_listed_then_for_every_kind_of_column() -> None:
    assert set(OPERATORS) == set(Kind)
    assert "between" in OPERATORS[Kind.DATE] and "matches" not in OPERATORS[Kind.INTEGER]


def test_functions_when_listed_then_all_of_them() -> None:
    assert [item["name"] for item in functions()] == list(FUNCTIONS)
