"""Dagster as `up` and `demo` run it: real daemon, code server, web server, launcher and run workers."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import dagster as dg
import psutil
import pytest
import yaml

from export_pipeline.embedded.postgres import Postgres
from export_pipeline.embedded.processes import start_of
from export_pipeline.embedded.s3 import S3
from export_pipeline.embedded.sample import LAST_CAMPAIGN
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.request import file_request
from export_pipeline.ledger.schema import migrate_up
from export_pipeline.model.job import ExportJob, ExportRequest, Status
from export_pipeline.orchestration.launcher import WORKER_TAG
from export_pipeline.orchestration.local import running_dagster, socket_folder
from export_pipeline.orchestration.worker import Worker
from export_pipeline.services import open_services
from export_pipeline.settings import Settings, load_settings
from export_pipeline_tests.conftest import fresh_database, variables_of
from export_pipeline_tests.orchestration.conftest import World, made_world, objects

COPYING = "FROM pg_stat_activity WHERE query LIKE 'COPY%%' AND pid <> pg_backend_pid()"
ROOT = Path(__file__).parents[2]


@contextmanager
def environment(settings: Settings) -> Iterator[None]:
    """The settings as the environment of whatever is started meanwhile."""
    before = dict(os.environ)
    os.environ.update(variables_of(settings) | {"PYTHONPATH": str(ROOT)})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Live:
    """A running Dagster with its own source, ledger and bucket."""

    def __init__(self, state: Path, address: str, engine: Engine, world: World, instance: dg.DagsterInstance) -> None:
        self.state, self.address, self.engine, self.world, self.instance = state, address, engine, world, instance

    def file(self, **request: object) -> ExportJob:
        filters = {"campaign_id": self.world.campaign}
        return file_request(self.engine, ExportRequest("campaign_results", self.world.owner, filters, **request))  # type: ignore[arg-type]

    def job(self, job: ExportJob) -> ExportJob:
        found = self.engine.jobs.get(job.id)
        assert found is not None
        return found

    def worker(self, job: ExportJob) -> Worker:
        run = self.run(job)
        worker = Worker.parse(run.tags[WORKER_TAG])
        assert worker is not None
        return worker

    def run(self, job: ExportJob) -> dg.DagsterRun:
        run = self.instance.get_run_by_id(self.job(job).dagster_run_id or "")
        assert run is not None
        return run


@pytest.fixture(scope="module")
def live(postgres_server: Postgres, s3_server: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    bucket = f"test-{uuid.uuid4().hex[:16]}"
    s3_server.create_bucket(bucket)
    key_id, secret = s3_server.keys()
    state = tmp_path_factory.mktemp("state")
    with fresh_database(postgres_server) as url:
        settings = load_settings(
            DATABASE_URL=url,
            S3_BUCKET_NAME=bucket,
            AWS_ENDPOINT_URL=s3_server.endpoint,
            AWS_ACCESS_KEY_ID=key_id,
            AWS_SECRET_ACCESS_KEY=secret,
            EXPORT_HEARTBEAT_SECONDS="0.5",
            EXPORT_RETRY_SECONDS="0.1",
        )
        migrate_up(settings.database_url)
        world = made_world(url)
        with (
            environment(settings),
            running_dagster(state, web=True) as address,
            open_services(settings) as engine,
            dg.DagsterInstance.from_config(str(state / "dagster")) as instance,
        ):
            yield Live(state, address, engine, world, instance)
    assert descendants(os.getpid(), "dagster") == [], "nothing of Dagster's is left"
    assert descendants(os.getpid(), "export_pipeline.web") == [], "nor the door"
    assert not (state / "door.json").exists()


def wait_until(true: Callable[[], bool], seconds: float) -> float:
    """How long it took; fails after so long."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < seconds, f"not within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - started


def descendants(pid: int, word: str) -> list[int]:
    """Processes below that one whose command has the word in it, parents before their children."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):  # it has ended
            found += [process.pid] if any(word in part for part in process.cmdline()) else []
    return found


@contextmanager
def slow_source(world: World) -> Iterator[None]:
    """The contacts take half a minute to read."""
    world.run("ALTER TABLE contacts RENAME TO away")
    world.run(
        "CREATE VIEW contacts AS SELECT away.* FROM away, generate_series(1, 1200) WHERE pg_sleep(0.001)::text <> '-'"
    )
    try:
        yield
    finally:
        # The server notices only at the next row that a killed worker is gone.
        world.run(f"SELECT pg_terminate_backend(pid) {COPYING}")
        world.run("DROP VIEW contacts")
        world.run("ALTER TABLE away RENAME TO contacts")


def working(live: Live, job: ExportJob) -> bool:
    """Whether the export's query runs."""
    active = f"SELECT count(*) {COPYING} AND state = 'active'"
    processing = live.job(job).status is Status.PROCESSING
    return processing and WORKER_TAG in live.run(job).tags and live.world.value(active) == 1


def test_request_when_filed_then_dagster_runs_it_to_the_end(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    def ended() -> bool:
        return live.job(job).status not in (Status.PENDING, Status.PROCESSING)

    job = live.file()  # the first one starts the warm process, too
    first = wait_until(ended, 30)
    assert live.job(job).status is Status.COMPLETED
    time.sleep(5)
    job = live.file()
    second = wait_until(ended, 15)
    with capsys.disabled():
        print(f"\nfiled to completed: {first:.2f} s at first, then {second:.2f} s")  # noqa: T201
    assert live.job(job).status is Status.COMPLETED
    run = live.run(job)
    wait_until(lambda: live.run(job).status is dg.DagsterRunStatus.SUCCESS, 5)
    assert run.tags["dagster/run_key"] == f"export:{job.id}:1"
    # Each row was started once, though the sensor has seen it more than once.
    assert live.instance.get_runs_count(dg.RunsFilter(tags={"export/id": job.id})) == 1


def test_link_when_made_by_a_run_then_goes_through_the_door_which_counts_it(live: Live) -> None:
    job = live.file()
    wait_until(lambda: live.job(job).status is Status.COMPLETED, 30)
    wait_until(lambda: live.run(job).status is dg.DagsterRunStatus.SUCCESS, 5)
    told = live.instance.get_latest_materialization_event(dg.AssetKey(["exports", "campaign_results"]))
    assert told is not None and told.asset_materialization is not None and told.run_id == live.run(job).run_id
    link = str(told.asset_materialization.metadata["link"].value)
    door = json.loads((live.state / "door.json").read_text())["EXPORT_LINK_URL"]
    assert link.startswith(f"{door}/links/")
    with urlopen(link, timeout=10) as response:
        assert response.url.startswith(str(live.engine.settings.aws_endpoint_url))
        assert len(response.read()) == live.job(job).bytes
    assert [issued.uses for issued in live.engine.links.of_export(job.id)] == [1]
    assert live.engine.audit.of(job.id)[-1].event.action.value == "link_used"
    logs = "".join(path.read_text() for path in (live.state / "dagster" / "processes").iterdir())
    assert f"the export {job.id} was used" in logs
    assert link.rpartition("/")[2] not in logs


SELECTOR = {"repositoryLocationName": "export_pipeline", "repositoryName": "__repository__"}


def graphql(live: Live, query: str, **variables: object) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = Request(f"{live.address}/graphql", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as response:
        answer = json.loads(response.read())
    assert "errors" not in answer, answer
    return dict(answer["data"])


def test_launchpad_when_opened_then_is_filled_in_and_its_launch_delivers_a_file(live: Live) -> None:
    found = graphql(
        live,
        "query ($selector: PipelineSelector!) { runConfigSchemaOrError(selector: $selector) {"
        " ... on RunConfigSchema { rootDefaultYaml } } }",
        selector={**SELECTOR, "pipelineName": "export_job"},
    )
    form = yaml.safe_load(found["runConfigSchemaOrError"]["rootDefaultYaml"])
    assert form == {
        "dataset": "campaign_results",
        "also": [],
        "campaign_id": LAST_CAMPAIGN,
        "date_from": "",
        "date_to": "",
        "filters": {},
        "conditions": [],
        "sort": [],
        "columns": [],
        "truncate": False,
        "contact_info": True,
        "masks": {},
        "recipient": "",
        "reason": "",
        "since": "",
        "template": "",
        "format": "csv",
        "options": {},
        "destination": "s3",
        "requested_by": "operator@example.com",
        "verify": "",
        "export_id": "",
    }
    launched = graphql(
        live,
        "mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename"
        " ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }"
        " ... on RunConfigValidationInvalid { errors { message } } } }",
        params={
            "selector": {**SELECTOR, "jobName": "export_job"},
            "runConfigData": form | {"campaign_id": live.world.campaign, "requested_by": live.world.owner},
        },
    )
    run_id = launched["launchRun"]["run"]["runId"]
    wait_until(lambda: live.instance.get_run_by_id(run_id).is_finished, 20)  # type: ignore[union-attr]
    [job] = live.engine.jobs.of_run(run_id)
    assert (job.status, job.rows) == (Status.COMPLETED, 25)
    # The row was claimed in the transaction that filed it: the sensor has started nothing for it.
    assert live.instance.get_runs_count(dg.RunsFilter(tags={"export/id": job.id})) == 1


def test_run_when_terminated_then_the_export_is_cancelled_and_nothing_is_left(live: Live) -> None:
    with slow_source(live.world):
        before = objects(live.engine)
        job = live.file(options={"profile": "raw"})
        wait_until(lambda: working(live, job), 15)
        # Neither this process nor the web server has launched the run: they know its worker by the run's tag.
        assert live.instance.run_launcher.check_run_worker_health(live.run(job)).status.value == "RUNNING"
        mutation = "mutation ($id: String!) { terminateRun(runId: $id) { __typename } }"
        ended = graphql(live, mutation, id=live.run(job).run_id)
        assert ended["terminateRun"]["__typename"] == "TerminateRunSuccess"
        took = wait_until(lambda: live.job(job).status is Status.CANCELLED, 10)
        wait_until(lambda: live.run(job).status is dg.DagsterRunStatus.CANCELED, 5)
    assert took < 3
    assert objects(live.engine) == before
    wait_until(lambda: not live.worker(job).alive, 5)


def test_worker_when_killed_then_its_export_gets_the_next_attempt(live: Live) -> None:
    with slow_source(live.world):
        job = live.file(options={"profile": "raw"})
        wait_until(lambda: working(live, job), 15)
        first = live.run(job)
        assert live.worker(job).signal(signal.SIGKILL)
        wait_until(lambda: not live.worker(job).alive, 2)
    wait_until(lambda: live.job(job).status is Status.COMPLETED, 45)
    done = live.job(job)
    assert (done.attempt, done.rows) == (2, 25)
    assert done.dagster_run_id != first.run_id
    assert live.instance.get_run_by_id(first.run_id).status is dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]
    left = [key for key in objects(live.engine) if f"/{job.id}/1/" in key]
    assert left == [], "the sweep has cleaned what the first attempt left"


def test_warm_process_when_killed_then_the_next_run_is_started_all_the_same(live: Live) -> None:
    def warm() -> int:
        """The warm process; workers that still live look the same, and come after it, as they are forked from it."""
        found = descendants(os.getpid(), "orchestration.warm")
        if not found:
            log = (live.state / "dagster" / "processes" / "daemon.log").read_text()
            shown = [process.info for process in psutil.process_iter(["pid", "ppid", "status", "cmdline"])]
            pytest.fail(f"there is no warm process:\n{shown}\n{log[-5000:]}")
        return found[0]

    first = live.file()
    wait_until(lambda: live.job(first).status is Status.COMPLETED, 15)
    killed = warm()
    os.kill(killed, signal.SIGKILL)
    after = live.file()
    wait_until(lambda: live.job(after).status is Status.COMPLETED, 15)
    assert warm() != killed


def test_second_dagster_on_the_same_state_when_started_then_uses_the_first(live: Live) -> None:
    started = time.monotonic()
    with running_dagster(live.state, web=True) as address:
        assert address == live.address
    assert time.monotonic() - started < 1
    with urlopen(f"{live.address}/server_info", timeout=5) as response:
        assert response.status == 200, "the first one goes on"


def test_dagster_when_its_parent_is_killed_then_nothing_is_left(settings: Settings, tmp_path: Path) -> None:
    migrate_up(settings.database_url)
    script = (
        "import pathlib, sys, time\n"
        "from export_pipeline.orchestration.local import running_dagster\n"
        "with running_dagster(pathlib.Path(sys.argv[1]), web=False):\n"
        "    print('up', flush=True)\n"
        "    time.sleep(600)\n"
    )
    with environment(settings):
        parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        children = descendants(parent.pid, "dagster")
        assert len(children) == 2, "a code server and a daemon"
    finally:
        parent.kill()
        parent.communicate()
    wait_until(lambda: not any(start_of(child) for child in children), 5)
    with ExitStack() as stack:
        left = Path((tmp_path / "dagster" / "sockets").read_text())
        assert left.is_dir()
        following = socket_folder(stack, tmp_path / "dagster")
        assert following.is_dir() and not left.exists(), "what was left goes at the next start"
    assert not following.exists()
