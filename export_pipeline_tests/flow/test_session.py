"""The query that reads an export's rows: what PostgreSQL is set to, by which driver, and its end."""

import time
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import polars as pl
import pytest

from export_pipeline.flow.engine import Engine
from export_pipeline.model.access import Role, Scope
from export_pipeline.model.dataset import TEXT, Column, Dataset
from export_pipeline.model.errors import Broken
from export_pipeline.services import open_services
from export_pipeline.settings import SettingsError, load_settings
from export_pipeline_tests.datasets.reading import ask, authorized, read, read_source

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


def test_driver_when_another_build_is_set_then_it_reads_the_rows(sample_url: str, tmp_path: Path) -> None:
    installed = files("adbc_driver_postgresql") / "libadbc_driver_postgresql.so"
    other = tmp_path / "libadbc_driver_postgresql.so"
    other.write_bytes(installed.read_bytes())
    with open_services(load_settings(DATABASE_URL=sample_url, EXPORT_POSTGRES_DRIVER=str(other))) as engine:
        assert found(engine, ASKED)["jit"] == "off"
    mapped = Path("/proc/self/maps")
    assert not mapped.exists() or str(other) in mapped.read_text()


def test_driver_when_it_is_none_then_refused_and_the_setting_named(sample_url: str, tmp_path: Path) -> None:
    # Where it lies is no reason to take it for a connection that failed, and to try again.
    other = tmp_path / "connections" / "libadbc_driver_postgresql.so"
    other.parent.mkdir()
    other.write_text("not a library")
    with (
        open_services(load_settings(DATABASE_URL=sample_url, EXPORT_POSTGRES_DRIVER=str(other))) as engine,
        pytest.raises(Broken, match="EXPORT_POSTGRES_DRIVER"),
    ):
        found(engine, ASKED)
    with pytest.raises(SettingsError, match="EXPORT_POSTGRES_DRIVER"):
        load_settings(DATABASE_URL=sample_url, EXPORT_POSTGRES_DRIVER=str(tmp_path / "none.so"))


def test_query_when_who_writes_fails_while_it_still_runs_then_stopped_at_once(sample_url: str) -> None:
    # A batch at once, and then a row every 0.1 s for an hour and more.
    text = "repeat('x', 1000) || CASE WHEN n > 3000 THEN pg_sleep(0.1)::text ELSE '' END"
    slow = replace(
        ASKED,
        source="generate_series(1, 60000) AS n",
        order_by="n",
        columns=(Column("text", TEXT, text, "Long."),),
    )
    with open_services(load_settings(DATABASE_URL=sample_url)) as services:
        engine = replace(services, datasets={"session": slow})
        started = time.monotonic()
        with pytest.raises(ValueError, match="disk"), read_source(engine, authorized(engine, "session")) as rows:
            assert next(rows.batches).height
            raise ValueError("the disk is full")
        assert time.monotonic() - started < 10
        assert ask(
            engine,
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(0.1)%'"
            " AND state = 'active' AND pid <> pg_backend_pid()",
        ) == [(0,)]
