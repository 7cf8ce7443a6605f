"""`retention_job`, and the sensor for exports that ran outside Dagster."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.request import file_request
from export_pipeline.model.errors import Broken
from export_pipeline.model.job import ExportJob, ExportRequest, Phase, Status
from export_pipeline.model.mark import Mark
from export_pipeline.orchestration.direct import direct_exports_sensor
from export_pipeline.orchestration.reporting import progress_line, stack
from export_pipeline.orchestration.resource import ServicesResource
from export_pipeline.orchestration.retention import delete_old_runs
from export_pipeline_tests.orchestration.conftest import World, objects


@pytest.fixture
def delivered(engine: Engine, world: World) -> ExportJob:
    request = ExportRequest("campaign_results", world.owner, {"campaign_id": world.campaign})
    return run_export(engine, file_request(engine, request, claim_as=""))


@pytest.mark.parametrize("dry_run", [True, False])
def test_retention_job_when_an_export_is_overdue_then_its_files_go_unless_dry(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    engine: Engine,
    world: World,
    delivered: ExportJob,
    dry_run: bool,
) -> None:
    world.run("UPDATE exports.export_jobs SET expires_at = now() - interval '1 minute'")
    job = definitions.resolve_job_def("retention_job")
    config = dg.RunConfig(ops={"retention": {"config": {"dry_run": dry_run}}})
    assert job.execute_in_process(instance=instance, run_config=config).success
    found = engine.jobs.get(delivered.id)
    assert found is not None
    assert found.status is (Status.COMPLETED if dry_run else Status.EXPIRED)
    assert bool(objects(engine)) is dry_run


def test_old_runs_when_deleted_then_their_worker_logs_go_too_and_young_ones_stay(instance: dg.DagsterInstance) -> None:
    ended, active = (instance.create_run_for_job(_nothing, status=status) for status in (_SUCCESS, _STARTED))
    log = Path(instance.root_directory) / "run_workers" / f"{ended.run_id}.log"
    log.parent.mkdir()
    log.write_text("…")
    assert delete_old_runs(instance, timedelta(days=1), dry_run=False) == 0
    assert delete_old_runs(instance, timedelta(seconds=-60), dry_run=True) == 1
    assert log.exists()
    assert delete_old_runs(instance, timedelta(seconds=-60), dry_run=False) == 1
    assert [run.run_id for run in instance.get_runs()] == [active.run_id]
    assert not log.exists()


_SUCCESS, _STARTED = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.STARTED


@dg.job
def _nothing() -> None: ...


def test_direct_exports_sensor_when_one_ran_outside_dagster_then_its_event_is_recorded_once(
    services: ServicesResource, instance: dg.DagsterInstance, engine: Engine, world: World, delivered: ExportJob
) -> None:
    [event], cursor = _tick(services, instance, None)
    assert event.asset_key == dg.AssetKey(["exports", "campaign_results"])
    assert event.metadata["dagster/row_count"].value == 25
    assert event.metadata["sha256"].value == delivered.files[0].sha256
    assert "link" not in event.metadata, "whoever called has printed one; another would only be another secret"
    assert _tick(services, instance, cursor)[0] == []

    # It ended before the one that is known, and is seen after it: its transaction took longer.
    late = run_export(engine, file_request(engine, delivered.request, claim_as=""))
    world.run(
        f"UPDATE exports.export_jobs SET completed_at = completed_at - interval '1 minute' WHERE id = '{late.id}'"
    )
    [event], cursor = _tick(services, instance, cursor)
    assert event.tags["export/id"] == late.id
    assert _tick(services, instance, cursor)[0] == []


def test_direct_exports_sensor_when_a_run_of_dagsters_made_it_or_the_ledger_is_away_then_nothing_is_recorded(
    services: ServicesResource, instance: dg.DagsterInstance, world: World, delivered: ExportJob
) -> None:
    world.run("UPDATE exports.export_jobs SET dagster_run_id = 'run'")
    assert _tick(services, instance, None) == ([], None)
    cursor = json.dumps(Mark.first(datetime.now(UTC)).document)
    world.run("ALTER TABLE exports.export_jobs RENAME TO elsewhere")
    assert _tick(services, instance, cursor) == ([], cursor)


def _tick(
    services: ServicesResource, instance: dg.DagsterInstance, cursor: str | None
) -> tuple[list[dg.AssetMaterialization], str | None]:
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"services": services}, sensor_name="direct_exports_sensor"
    )
    result = direct_exports_sensor.evaluate_tick(context)
    return [event for event in result.asset_events if isinstance(event, dg.AssetMaterialization)], result.cursor


def test_progress_line_when_rows_are_estimated_then_tells_percent_and_rate() -> None:
    attempt = Attempt("id", 1, Phase.WRITING, rows_done=50_000, rows_estimated=200_000, bytes_done=1_000_000)
    assert progress_line(attempt, 2.0) == (
        "writing: 50,000 of about 200,000 rows (25 %), 1,000,000 bytes, 25,000 rows/s"
    )
    attempt.rows_done = 250_000  # the estimate was too low
    assert "250,000 of about 250,000 rows (99 %)" in progress_line(attempt, 2.0)
    assert progress_line(Attempt("id", 1), 0.0) == "planning: 0 rows, 0 bytes, 0 rows/s"


def test_stack_when_an_error_has_a_cause_then_tells_places_but_no_texts() -> None:
    personal = "Zoë Müller, +15550100123"
    try:
        try:
            raise ValueError(personal)
        except ValueError as cause:
            raise Broken("it went wrong") from cause
    except Broken as error:
        told = stack(error)
    assert "ValueError, raised at" in told
    assert "test_retention.py" in told
    assert "Müller" not in told
