"""The sensor of alerts, evaluated as the daemon would: exports, scheduled runs, a way that is down, none at all."""

import logging
from collections.abc import Iterator

import dagster as dg
import pytest

from export_pipeline.flow.engine import Engine
from export_pipeline.model.access import SERVICE
from export_pipeline.model.errors import ErrorKind
from export_pipeline.model.job import ExportJob, ExportRequest
from export_pipeline.orchestration.alerts import build_alerts_sensor
from export_pipeline.orchestration.resource import ServicesResource
from export_pipeline.services import open_services
from export_pipeline.settings import load_settings
from export_pipeline_tests.orchestration.test_sensors import tick
from export_pipeline_tests.servers.hook import PATH, Hook, hook_server

SENSOR = build_alerts_sensor(["hourly"])


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """One for all tests here: to make one takes longer than a test."""
    folder = tmp_path_factory.mktemp("dagster")
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(folder)) as opened:
        yield opened


@pytest.fixture
def hook() -> Iterator[Hook]:
    with hook_server() as server:
        yield server


@pytest.fixture
def engine(ledger_url: str, hook: Hook) -> Iterator[Engine]:
    """An engine with an empty ledger, and a webhook for alerts."""
    with open_services(load_settings(DATABASE_URL=ledger_url, EXPORT_ALERT_WEBHOOK=hook.url)) as opened:
        yield opened


def failed(engine: Engine) -> ExportJob:
    job = engine.jobs.file(ExportRequest("calls", "a@example.com"), requester=SERVICE, owner_id=None, reason="")
    return engine.jobs.fail(job.id, 1, kind=ErrorKind.BROKEN, message="it broke", actor="a@example.com")


@dg.job
def _nothing() -> None: ...


def ended(instance: dg.DagsterInstance, schedule: str | None, *, failing: bool = True) -> dg.DagsterRun:
    run = instance.create_run_for_job(_nothing, tags={"dagster/schedule_name": schedule} if schedule else None)
    (instance.report_run_failed if failing else instance.report_run_canceled)(run, "phone +15550100123 is no number")
    return run


def test_sensor_when_an_export_failed_then_told_once_and_the_place_is_kept(
    engine: Engine, services: ServicesResource, instance: dg.DagsterInstance, hook: Hook
) -> None:
    job = failed(engine)
    _, why, cursor = tick(SENSOR, services, instance)
    assert why == "webhook: 1 told"
    _, why, cursor = tick(SENSOR, services, instance, cursor)
    assert why == "nothing failed"
    [(_, body)] = hook.posts
    assert job.id.encode() in body


def test_sensor_when_the_way_is_down_then_the_tick_says_why_and_the_next_one_tells(
    engine: Engine, services: ServicesResource, instance: dg.DagsterInstance, hook: Hook
) -> None:
    _, _, cursor = tick(SENSOR, services, instance)
    failed(engine)
    hook.status = 503
    _, why, cursor = tick(SENSOR, services, instance, cursor)
    assert why == "webhook: 1 not told, to be tried again: the webhook does not take it now (503)"
    assert cursor is not None and PATH not in why + cursor
    hook.status = 200
    _, why, cursor = tick(SENSOR, services, instance, cursor)
    assert why == "webhook: 1 told"
    assert tick(SENSOR, services, instance, cursor)[1] == "nothing failed"


def test_sensor_when_a_scheduled_run_failed_then_told_without_what_a_library_said(
    engine: Engine, services: ServicesResource, instance: dg.DagsterInstance, hook: Hook
) -> None:
    nightly = build_alerts_sensor(["nightly"])
    run = ended(instance, "nightly")
    ended(instance, None)
    ended(instance, "somebody's own")
    ended(instance, "nightly", failing=False)
    _, why, cursor = tick(nightly, services, instance)
    assert why == "webhook: 1 told"
    assert tick(nightly, services, instance, cursor)[1] == "nothing failed"
    [(_, body)] = hook.posts
    assert f"run: {run.run_id}".encode() in body
    assert b"scheduled run of _nothing, by nightly" in body
    assert b"5550100123" not in body


def test_sensor_when_no_way_is_set_up_then_its_log_tells_alone(
    ledger_url: str, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    silent = load_settings(DATABASE_URL=ledger_url)
    with open_services(silent) as engine:
        job = failed(engine)
    services = ServicesResource(lambda: open_services(silent))
    context = dg.build_sensor_context(instance=instance, resources={"services": services})
    context.log.addHandler(caplog.handler)
    assert SENSOR.evaluate_tick(context).skip_message == "log: 1 told"
    told, line = caplog.records
    assert (told.levelno, line.levelno) == (logging.WARNING, logging.INFO)
    assert told.getMessage().startswith("Failed: calls as csv\n")
    assert line.getMessage() == f"told by log: {job.id}"


def test_sensor_when_the_ledger_is_away_then_says_so_and_keeps_its_place(instance: dg.DagsterInstance) -> None:
    away = load_settings(DATABASE_URL="postgresql://somebody:hush@127.0.0.1:9/nothing")
    services = ServicesResource(lambda: open_services(away))
    _, why, after = tick(SENSOR, services, instance, '{"log": {"since": "2026-01-01T00:00:00+00:00", "known": {}}}')
    assert why.startswith("not looked: the ledger's database cannot be reached")
    assert after is not None and "2026-01-01" in after
