"""The sensors, evaluated as the daemon would, on a real ledger and source."""

import json
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Thread

import dagster as dg
import pytest

from export_pipeline.flow.engine import Engine
from export_pipeline.flow.history import list_exports
from export_pipeline.flow.publish import attempt_prefix
from export_pipeline.flow.request import file_request
from export_pipeline.model.job import ExportJob, ExportRequest, Status
from export_pipeline.orchestration.build import build_definitions
from export_pipeline.orchestration.campaigns import campaign_completed_sensor
from export_pipeline.orchestration.exports import config_of, tags_of
from export_pipeline.orchestration.requests import build_requests_sensor, run_key
from export_pipeline.orchestration.resource import ServicesResource
from export_pipeline.orchestration.upkeep import (
    export_cancel_sensor,
    export_failure_sensor,
    settle_cancelled,
    settle_failed,
    sweep_sensor,
)
from export_pipeline_tests.orchestration.conftest import World, objects


def filed(engine: Engine, world: World, **request: object) -> ExportJob:
    asked = ExportRequest("campaign_results", world.owner, {"campaign_id": world.campaign}, **request)  # type: ignore[arg-type]
    return file_request(engine, asked)


def claimed(engine: Engine, job: ExportJob, run_id: str) -> ExportJob:
    prefix = attempt_prefix(engine.settings.s3_prefix, job)
    return engine.jobs.claim(job.id, job.attempt, run_id=run_id, prefix=prefix)


def current(engine: Engine, job: ExportJob) -> ExportJob:
    found = engine.jobs.get(job.id)
    assert found is not None
    return found


def tick(
    sensor: dg.SensorDefinition, services: ServicesResource, instance: dg.DagsterInstance, cursor: str | None = None
) -> tuple[list[dg.RunRequest], str, str | None]:
    """One tick: the runs that it asks for, why it asks for none, and the cursor afterwards."""
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"services": services}, sensor_name=sensor.name
    )
    result = sensor.evaluate_tick(context)
    return list(result.run_requests or []), result.skip_message or "", result.cursor


def requests_tick(
    services: ServicesResource, instance: dg.DagsterInstance, cursor: str | None = None, wait_seconds: float = 0.3
) -> tuple[list[dg.RunRequest], str, str | None]:
    export_job = build_definitions(services).resolve_job_def("export_job")
    return tick(build_requests_sensor(export_job, wait_seconds), services, instance, cursor)


def test_requests_sensor_when_a_request_is_due_then_asks_for_its_run(
    engine: Engine, services: ServicesResource, instance: dg.DagsterInstance, world: World
) -> None:
    job = filed(engine, world)
    [run], _, _ = requests_tick(services, instance)
    assert run.run_key == f"export:{job.id}:1"
    assert run.run_config["export_id"] == job.id
    assert run.run_config["requested_by"] == "", "the row says who asked; the run's config needs no address"
    wanted = {"export/id": job.id, "export/owner": job.requester_id, "export/attempt": "1"}
    assert run.tags == wanted | {"dagster/sensor_name": "export_requests_sensor"}
    assert current(engine, job).status is Status.PENDING, "the run claims the row, not the sensor"


@pytest.mark.parametrize(
    "dataset",
    [
        "contacts as done,contacts as lost",
        " contacts AS done:csv+xlsx , calls",
        "contacts:parquet,calls as rest",
        "calls as a",
        "comprehensive",
    ],
)
def test_config_when_a_package_is_spelled_in_any_way_then_dagster_accepts_it(
    definitions: dg.Definitions, dataset: str
) -> None:
    job = ExportJob(
        id=str(uuid.uuid4()),
        request=ExportRequest(dataset, "a@b.example", format="zip"),
        status=Status.PENDING,
        attempt=1,
        created_at=datetime.now(UTC),
        requester_id="1",
    )
    dg.validate_run_config(definitions.resolve_job_def("export_job"), config_of(job))


def test_requests_sensor_when_dagster_accepts_no_run_for_a_row_then_fails_it_and_starts_the_others(
    engine: Engine, services: ServicesResource, instance: dg.DagsterInstance, world: World
) -> None:
    name = "of_tomorrow"  # a dataset that was added after Dagster had loaded its definitions
    newer = replace(engine, datasets={**engine.datasets, name: replace(engine.datasets["campaign_results"], name=name)})
    asked = ExportRequest(name, world.owner, {"campaign_id": world.campaign})
    unknown, known = file_request(newer, asked), filed(engine, world)
    [run], _, cursor = requests_tick(services, instance)
    assert run.run_config["export_id"] == known.id
    failed = current(engine, unknown)
    assert failed.status is Status.FAILED and failed.error is not None
    assert "got of_tomorrow" in failed.error and "reload them, then `retry`" in failed.error
    assert engine.audit.of(unknown.id)[-1].event.actor == "dagster"
    claimed(engine, known, "run")
    file_request(newer, asked)
    assert requests_tick(services, instance, cursor)[:2] == (
        [],
        "1 requests were failed, as Dagster accepts no run for them",
    )


def test_requests_sensor_when_a_request_comes_while_it_waits_then_answers_at_once(
    engine: Engine, services: ServicesResource, instance: dg.DagsterInstance, world: World
) -> None:
    writer = Thread(target=lambda: (time.sleep(0.5), filed(engine, world)))
    writer.start()
    started = time.monotonic()
    runs, _, _ = requests_tick(services, instance, wait_seconds=10)
    seconds = time.monotonic() - started
    writer.join()
    assert len(runs) == 1
    assert 0.3 < seconds < 3


def test_requests_sensor_when_nothing_comes_then_its_tick_ends_in_time(
    engine: Engine, services: ServicesResource, instance: dg.DagsterInstance
) -> None:
    started = time.monotonic()
    runs, why, _ = requests_tick(services, instance, wait_seconds=0.6)
    assert (runs, why) == ([], "no request is due")
    assert 0.5 < time.monotonic() - started < 2


def test_requests_sensor_when_a_row_was_handed_over_then_waits_for_others(
    engine: Engine, services: ServicesResource, instance: dg.DagsterInstance, world: World
) -> None:
    first = filed(engine, world)
    _, _, cursor = requests_tick(services, instance)
    started = time.monotonic()
    runs, why, cursor = requests_tick(services, instance, cursor, wait_seconds=0.6)
    assert (runs, why) == ([], "1 requests wait for their runs to begin")
    assert time.monotonic() - started > 0.5, "it has waited, not spun"
    second = filed(engine, world)
    [run], _, cursor = requests_tick(services, instance, cursor)
    assert run.run_key == run_key(second)
    assert cursor is not None
    assert set(json.loads(cursor)) == {run_key(first), run_key(second)}
    claimed(engine, first, "run")
    _, _, cursor = requests_tick(services, instance, cursor)
    assert cursor is not None
    assert set(json.loads(cursor)) == {run_key(second)}, "what is no longer due is forgotten"


def test_requests_sensor_when_a_handed_over_row_waits_too_long_then_hands_it_over_again(
    engine: Engine, services: ServicesResource, instance: dg.DagsterInstance, world: World
) -> None:
    job = filed(engine, world)
    long_ago = json.dumps({run_key(job): time.time() - 3600})
    [run], _, _ = requests_tick(services, instance, long_ago)
    assert run.run_key == run_key(job), "Dagster starts no second run for the key, if the first is still there"


def test_requests_sensor_when_a_request_is_for_later_then_waits_for_its_time(
    engine: Engine, services: ServicesResource, instance: dg.DagsterInstance, world: World
) -> None:
    filed(engine, world, not_before=datetime.now(UTC) + timedelta(seconds=1.5))
    assert requests_tick(services, instance, wait_seconds=0.2)[0] == []
    assert len(requests_tick(services, instance, wait_seconds=5)[0]) == 1


def test_campaign_sensor_when_a_campaign_turns_completed_then_files_its_export_for_the_owner_once(
    engine: Engine, services: ServicesResource, instance: dg.DagsterInstance, world: World
) -> None:
    world.add_campaign(str(uuid.uuid4()), world.owner, "completed")
    _, why, cursor = tick(campaign_completed_sensor, services, instance)
    assert why == "1 campaigns are completed already; from now on"
    assert engine.jobs.newest() == [], "not the past"

    world.run("UPDATE campaigns SET status = 'completed' WHERE id = %(id)s", id=world.campaign)
    _, _, cursor = tick(campaign_completed_sensor, services, instance, cursor)
    _, why, cursor = tick(campaign_completed_sensor, services, instance, cursor)
    assert why == "no campaign turned completed"
    [job] = list_exports(engine, world.owner)
    assert job.request.dataset == "campaign_results"
    assert job.request.filters == {"campaign_id": world.campaign}
    assert job.request.requested_by == world.owner


def test_campaign_sensor_when_the_owner_may_not_have_it_then_it_is_refused_once_and_others_go_on(
    engine: Engine, services: ServicesResource, instance: dg.DagsterInstance, world: World
) -> None:
    _, _, cursor = tick(campaign_completed_sensor, services, instance)
    analysts = str(uuid.uuid4())
    world.add_campaign(analysts, world.analyst, "completed")
    world.run("UPDATE campaigns SET status = 'completed' WHERE id = %(id)s", id=world.campaign)
    _, why, cursor = tick(campaign_completed_sensor, services, instance, cursor)
    assert f"campaign {analysts}: refused: the role analyst may not" in why
    assert len(engine.jobs.newest()) == 1
    assert tick(campaign_completed_sensor, services, instance, cursor)[1] == "no campaign turned completed"


def test_campaign_sensor_when_the_source_is_not_as_expected_then_says_so_and_keeps_its_place(
    engine: Engine, services: ServicesResource, instance: dg.DagsterInstance, world: World
) -> None:
    _, _, cursor = tick(campaign_completed_sensor, services, instance)
    world.run("ALTER TABLE campaigns RENAME TO away")
    _, why, after = tick(campaign_completed_sensor, services, instance, cursor)
    assert why.startswith("not looked: the source's schema is not what")
    assert after == cursor


def test_sweep_sensor_when_a_worker_is_silent_then_its_export_is_tried_again(
    engine: Engine, services: ServicesResource, instance: dg.DagsterInstance, world: World
) -> None:
    job = claimed(engine, filed(engine, world), "run")
    world.run("UPDATE exports.export_jobs SET heartbeat_at = now() - interval '1 hour'")
    _, why, _ = tick(sweep_sensor, services, instance)
    assert f"tried_again: {job.id}" in why
    assert (current(engine, job).status, current(engine, job).attempt) == (Status.PENDING, 2)


def run_of(instance: dg.DagsterInstance, tags: dict[str, str]) -> dg.DagsterRun:
    return instance.create_run_for_job(_nothing, tags=tags)


@dg.job
def _nothing() -> None: ...


def test_failed_run_when_its_worker_was_killed_then_the_row_gets_its_next_attempt_at_once(
    engine: Engine, instance: dg.DagsterInstance, world: World
) -> None:
    job = filed(engine, world)
    run = run_of(instance, tags_of(job))
    claimed(engine, job, run.run_id)
    assert settle_failed(engine, run, "the worker is gone") == [job.id]
    assert (current(engine, job).status, current(engine, job).attempt) == (Status.PENDING, 2)
    assert settle_failed(engine, run, "again") == [], "the next attempt is another run's"


def test_failed_run_when_it_never_began_then_the_row_fails_and_says_why(
    engine: Engine, instance: dg.DagsterInstance, world: World
) -> None:
    job = filed(engine, world)
    run = run_of(instance, tags_of(job))
    settle_failed(engine, run, "no code location")
    assert current(engine, job).status is Status.FAILED
    assert "no code location" in (current(engine, job).error or "")


def test_terminated_run_when_it_was_still_queued_then_its_row_is_cancelled(
    engine: Engine, instance: dg.DagsterInstance, world: World
) -> None:
    job = filed(engine, world)
    assert settle_cancelled(engine, run_of(instance, tags_of(job))) == [job.id]
    assert current(engine, job).status is Status.CANCELLED


def test_terminated_run_when_its_worker_had_to_be_killed_then_what_it_wrote_goes(
    engine: Engine, instance: dg.DagsterInstance, world: World
) -> None:
    job = filed(engine, world)
    run = run_of(instance, tags_of(job))
    claimed(engine, job, run.run_id)
    key = f"{attempt_prefix(engine.settings.s3_prefix, job)}half.csv"
    with engine.destination("s3").open(key, media_type="text/csv", filename="half.csv") as target:
        target.write(b"half")
    assert settle_cancelled(engine, run) == [job.id]
    assert current(engine, job).status is Status.CANCELLED
    assert objects(engine) == []


def test_terminated_run_when_another_run_has_the_row_then_nothing_changes(
    engine: Engine, instance: dg.DagsterInstance, world: World
) -> None:
    job = filed(engine, world)
    run = run_of(instance, tags_of(job))
    claimed(engine, job, "another-run")
    assert settle_cancelled(engine, run) == []
    assert settle_failed(engine, run, "") == []
    assert current(engine, job).status is Status.PROCESSING


@pytest.mark.parametrize("sensor", [export_failure_sensor, export_cancel_sensor])
def test_run_sensors_when_given_a_run_of_theirs_then_put_its_row_right(
    sensor: dg.SensorDefinition, engine: Engine, services: ServicesResource, instance: dg.DagsterInstance, world: World
) -> None:
    job = filed(engine, world)
    run = run_of(instance, tags_of(job))
    failing = sensor is export_failure_sensor
    event = (instance.report_run_failed if failing else instance.report_run_canceled)(run)
    context = dg.build_run_status_sensor_context(
        sensor_name=sensor.name,
        dagster_instance=instance,
        dagster_run=run,
        dagster_event=event,
        resources={"services": services},
    )
    result = sensor(context.for_run_failure() if failing else context)
    assert job.id in str(result)
    assert current(engine, job).status is (Status.FAILED if failing else Status.CANCELLED)
