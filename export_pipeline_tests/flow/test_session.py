"""What PostgreSQL is set to in the transaction that reads an export's rows."""

from dataclasses import replace

import polars as pl
import pytest

from export_pipeline.flow.engine import Engine
from export_pipeline.model.access import Role, Scope
from export_pipeline.model.dataset import TEXT, Column, Dataset
from export_pipeline.services import open_services
from export_pipeline.settings import load_settings
from export_pipeline_tests.datasets.reading import read

NAMES = ("work_mem", "max_parallel_workers_per_gather", "jit", "parallel_tuple_cost")
ASKED = Dataset(
    name="session",
    title="Session",
    description="What its own transaction is set to.",
    source="(SELECT 1) AS one",
    order_by="1",
    columns=tuple(Column(name, TEXT, f"current_setting('{name}')", "A setting.") for name in NAMES),
    filters=(),
    access={Role.ADMIN: Scope.ALL},
)


def found(engine: Engine, dataset: Dataset) -> dict[str, str]:
    rows: pl.DataFrame = read(replace(engine, datasets={"session": dataset}), "session")
    return rows.row(0, named=True)


@pytest.mark.parametrize("workers", ["0", "3"])
def test_session_when_settings_say_so_then_postgresql_reads_the_rows_with_them(sample_url: str, workers: str) -> None:
    values = {"EXPORT_WORK_MEM": "77MB", "EXPORT_PARALLEL_WORKERS": workers}
    with open_services(load_settings(DATABASE_URL=sample_url, **values)) as engine:
        plain = found(engine, ASKED)
        aggregating = found(engine, replace(ASKED, source="(SELECT 1 WHERE {where}) AS one"))
    assert (plain["work_mem"], plain["max_parallel_workers_per_gather"], plain["jit"]) == ("77MB", workers, "off")
    assert float(aggregating["parallel_tuple_cost"]) < float(plain["parallel_tuple_cost"])
