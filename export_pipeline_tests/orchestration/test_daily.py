"""Events as an asset partitioned by day: what a partition holds, that it can be taken again, and when it goes."""

import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime

import dagster as dg
import polars as pl
import pytest

from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.daily_extracts import old_days, take_day
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.extracts import latest_extracts, old_extracts, take_extracts
from export_pipeline.flow.publish import MANIFEST
from export_pipeline.flow.retention import run_retention
from export_pipeline.model.errors import Broken
from export_pipeline.model.job import ExportFile
from export_pipeline.orchestration.daily import DAYS, events_schedule
from export_pipeline_tests.orchestration.conftest import World, objects

DAY = date(2026, 10, 25)
EVENT = """
INSERT INTO events (event, distinct_id, timestamp, properties)
VALUES ('seen', 'user-1', %(at)s, '{"email": "a@b.example", "n": 1}')
"""


@pytest.fixture
def world(world: World) -> World:
    for at in ("2026-10-24T23:59:59.999999Z", "2026-10-25T00:00:00Z", "2026-10-25T23:59:59.999999Z", "2026-10-26Z"):
        world.run(EVENT, at=at)
    return world


def day_of(engine: Engine, day: date) -> ExportFile | None:
    """The file that the day's manifest tells of."""
    destination = engine.destination("s3")
    manifests = [
        item.key for item in destination.list(f"exports/daily_extracts/events/{day}/") if item.key.endswith(MANIFEST)
    ]
    if not manifests:
        return None
    [manifest] = manifests
    return ExportFile.of(json.loads(b"".join(destination.read(manifest)))["file"])


def stored(engine: Engine, day: date) -> pl.DataFrame:
    file = day_of(engine, day)
    assert file is not None
    return pl.read_parquet(io.BytesIO(b"".join(engine.destination("s3").read(file.key))))


def test_partition_when_materialized_then_holds_that_day_in_utc_and_its_checks_pass(
    definitions: dg.Definitions, instance: dg.DagsterInstance, engine: Engine, world: World
) -> None:
    job = definitions.resolve_job_def("events_job")
    result = job.execute_in_process(instance=instance, partition_key=DAY.isoformat())
    assert result.success
    [materialization] = result.asset_materializations_for_node("extracts__events")
    assert materialization.partition == "2026-10-25"
    assert materialization.metadata["dagster/partition_row_count"].value == 2
    checks = [event for event in result.all_events if event.event_type_value == "ASSET_CHECK_EVALUATION"]
    assert [check.asset_check_evaluation_data.passed for check in checks] == [True, True]
    assert instance.get_materialized_partitions(dg.AssetKey(["extracts", "events"])) == {"2026-10-25"}
    assert stored(engine, DAY)["timestamp"].to_list() == [
        datetime(2026, 10, 25, tzinfo=UTC),
        datetime(2026, 10, 25, 23, 59, 59, 999999, tzinfo=UTC),
    ]


def test_partition_when_taken_again_then_only_the_new_file_is_there(engine: Engine, world: World) -> None:
    take_day(engine, DAY, Attempt("events", 1))
    world.run(EVENT, at="2026-10-25T12:00:00Z")
    file, _ = take_day(engine, DAY, Attempt("events", 1))
    assert (file.rows, day_of(engine, DAY), stored(engine, DAY).height) == (3, file, 3)
    assert len(objects(engine)) == 2  # the file and its manifest
    assert day_of(engine, date(2026, 10, 24)) is None


def test_partition_when_it_fails_then_what_was_there_stays(engine: Engine, world: World) -> None:
    file, _ = take_day(engine, DAY, Attempt("events", 1))
    world.run("ALTER TABLE events RENAME COLUMN properties TO props")
    with pytest.raises(Broken, match="schema is not what"):
        take_day(engine, DAY, Attempt("events", 1))
    assert day_of(engine, DAY) == file
    assert len(objects(engine)) == 2


def test_partition_when_a_day_has_no_events_then_an_empty_file(engine: Engine, world: World) -> None:
    file, _ = take_day(engine, date(2026, 10, 20), Attempt("events", 1))
    assert file.rows == 0
    assert stored(engine, date(2026, 10, 20)).columns == ["id", "event", "distinct_id", "timestamp", "properties"]


def test_days_when_old_then_they_go_and_other_extracts_stay(engine: Engine, world: World) -> None:
    take_day(engine, DAY, Attempt("events", 1))
    taken = take_extracts(engine, Attempt("extracts", 1))
    assert latest_extracts(engine) == taken
    assert old_days(engine) == old_extracts(engine) == []
    aged = replace(engine, settings=engine.settings.model_copy(update={"cleanup_days": -1}))
    assert old_days(aged) == [f"exports/daily_extracts/events/{DAY}/"]
    report = run_retention(aged)
    assert (report.extracts, report.errors) == ([taken.prefix, f"exports/daily_extracts/events/{DAY}/"], [])
    assert day_of(engine, DAY) is None


def test_schedule_when_a_night_comes_then_asks_for_the_day_before(definitions: dg.Definitions) -> None:
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2026, 11, 21, 0, 30, tzinfo=UTC),
        repository_def=definitions.get_repository_def(),
    )
    resolved = definitions.get_repository_def().get_schedule_def(events_schedule.name)
    requests = resolved.evaluate_tick(context).run_requests
    assert requests is not None
    assert [request.partition_key for request in requests] == ["2026-11-20"]
    assert resolved.cron_schedule == "30 0 * * *"
    keys = DAYS.get_partition_keys(current_time=datetime(2026, 11, 21, 0, 30, tzinfo=UTC))
    assert (keys[0], keys[-1]) == ("2008-01-01", "2026-11-20")
