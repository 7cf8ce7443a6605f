"""How a run's worker is recognised, and what the launcher says of one that is not there."""

import json
import os
import signal
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._daemon.controller import create_daemon_of_type
from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon
from dagster._grpc.types import ExecuteRunArgs

from export_pipeline.orchestration import launcher
from export_pipeline.orchestration.launcher import WORKER_TAG, WarmProcessRunLauncher
from export_pipeline.orchestration.local import prepare_home
from export_pipeline.orchestration.queue import PromptRunCoordinator
from export_pipeline.orchestration.worker import Worker


@dg.job
def _nothing() -> None: ...


def test_worker_when_written_into_a_tag_then_is_read_back() -> None:
    here = Worker.here(os.getpid())
    assert Worker.parse(str(here)) == here
    assert here.alive
    assert Worker.parse("") is None


def test_worker_when_its_number_was_given_to_another_process_then_does_not_live() -> None:
    pid, _, host = str(Worker.here(os.getpid())).split("|")
    stranger = Worker.parse(f"{pid}|1|{host}")
    assert stranger is not None
    assert not stranger.alive
    assert not stranger.signal(signal.SIGTERM)


def test_worker_when_on_another_machine_then_is_not_taken_for_ours() -> None:
    pid, started, _ = str(Worker.here(os.getpid())).split("|")
    far = Worker.parse(f"{pid}|{started}|elsewhere")
    assert far is not None
    assert not far.on_this_machine
    assert not far.alive


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    """An instance with the project's own dagster.yaml."""
    prepare_home(tmp_path / "dagster")
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as opened:
        yield opened


def test_dagster_yaml_when_loaded_then_names_our_launcher(instance: dg.DagsterInstance) -> None:
    assert isinstance(instance.run_launcher, WarmProcessRunLauncher)
    assert not instance.telemetry_enabled
    assert not instance.run_retries_enabled, "what becomes of a dead worker's export is the sweep's alone to decide"
    assert instance.run_monitoring_enabled
    root = Path(__file__).parents[2] / "dagster.yaml"
    assert root.read_text() == (files("export_pipeline.orchestration") / "dagster.yaml").read_text()


def test_queue_when_loaded_then_looked_at_twice_a_second_with_its_limits(instance: dg.DagsterInstance) -> None:
    assert isinstance(instance.run_coordinator, PromptRunCoordinator)
    daemon = create_daemon_of_type(QueuedRunCoordinatorDaemon.daemon_type(), instance)
    assert isinstance(daemon, QueuedRunCoordinatorDaemon)
    assert daemon.interval_seconds < 0.5
    limits = instance.get_concurrency_config().run_queue_config
    assert limits is not None
    assert (limits.max_concurrent_runs, limits.max_user_code_failure_retries) == (4, 3)
    assert {limit["key"] for limit in limits.tag_concurrency_limits} == {"export/size", "export/owner"}


_WARM = """
import sys
from pathlib import Path
from export_pipeline.orchestration import warm
warm._PROJECT = Path(sys.argv[1])
warm.serve(end_workers=True)
"""


def test_warm_process_when_the_code_has_changed_then_forks_no_more(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "module.py").write_text("")
    order = json.dumps({"arguments": "no run at all", "log": str(tmp_path / "log")})
    with subprocess.Popen(
        [sys.executable, "-c", _WARM, str(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as warm:
        assert warm.stdin is not None
        assert warm.stdout is not None

        def answer() -> dict[str, object]:
            warm.stdin.write(f"{order}\n")
            warm.stdin.flush()
            told: dict[str, object] = json.loads(warm.stdout.readline())
            return told

        # It would not fork with threads: whatever it imports starts none.
        assert set(answer()) == {"pid"}
        (code / "another.py").write_text("")
        assert answer() == {"error": "the project's code has changed since it was imported"}
        warm.stdin.close()
    assert warm.returncode == 0


_WARM_WITH_POLARS = """
from export_pipeline.orchestration import warm
warm._PRELOADED = ("polars",)
warm.serve(end_workers=True)
"""


# The launcher forgets a worker that it has started: the run's tag tells of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_warm_process_when_it_answers_late_then_the_run_has_one_worker(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = RepositoryPythonOrigin(sys.executable, ModuleCodePointer("no_such_module", "any", str(tmp_path)))
    arguments = ExecuteRunArgs(JobPythonOrigin("any_job", origin), "any-run", instance.get_ref(), True)
    late = launcher.WarmProcessRunLauncher()
    late.register_instance(instance)
    monkeypatch.setattr(launcher, "_FORKING_SECONDS", 0.01)
    log = tmp_path / "log"
    os.waitpid(late._start(arguments, log), 0)
    late.dispose()
    assert log.read_text().count("Run with id 'any-run' not found") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the threads that Python does not know")
def test_warm_process_when_a_library_has_threads_then_does_not_fork(tmp_path: Path) -> None:
    order = json.dumps({"arguments": "no run at all", "log": str(tmp_path / "log")})
    done = subprocess.run(
        [sys.executable, "-c", _WARM_WITH_POLARS], input=f"{order}\n", capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {"error": "the warm process has threads: forking it is not safe"}


def test_run_when_its_worker_is_gone_then_is_not_healthy_and_terminating_it_cancels_it(
    instance: dg.DagsterInstance,
) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    run = instance.create_run_for_job(
        _nothing, status=dg.DagsterRunStatus.STARTED, tags={WORKER_TAG: str(Worker.here(process.pid))}
    )
    assert instance.run_launcher.check_run_worker_health(run).status.value == "RUNNING"
    process.kill()
    process.wait()
    assert instance.run_launcher.check_run_worker_health(run).status.value == "NOT_FOUND"
    assert instance.run_launcher.terminate(run.run_id)
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.CANCELED
    assert not instance.run_launcher.terminate(run.run_id), "it has ended"


def test_run_when_its_worker_is_on_another_machine_then_is_not_terminated_from_here(
    instance: dg.DagsterInstance,
) -> None:
    run = instance.create_run_for_job(
        _nothing, status=dg.DagsterRunStatus.STARTED, tags={WORKER_TAG: f"{os.getpid()}|1|elsewhere"}
    )
    assert not instance.run_launcher.terminate(run.run_id)
    assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.STARTED  # type: ignore[union-attr]


def test_worker_log_when_there_is_one_then_its_end_is_told(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(_nothing)
    assert instance.run_launcher.get_run_worker_debug_info(run) is None
    (Path(instance.root_directory) / "run_workers" / f"{run.run_id}.log").write_text("out of memory")
    assert "out of memory" in (instance.run_launcher.get_run_worker_debug_info(run) or "")
