"""Starts Dagster's runs in processes forked from a warm one, 0.2 s after they are due instead of 1.4 s. See warm.py.

Named in dagster.yaml, and so imported by every process of Dagster's: it stays light. The worker's identity is kept in a
tag of its run, so that another process (the web server, a daemon started anew) can tell whether it lives, and stop it.
"""

import json
import logging
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from dagster import BoolSource, DagsterInstance, Field
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, serialize_value
from dagster._serdes.config_class import ConfigurableClassData

from export_pipeline.orchestration.worker import Worker

if TYPE_CHECKING:
    from dagster import DagsterRun
    from dagster._config.config_schema import UserConfigSchema

#: The run's tag that names its worker; the prefix keeps it out of the UI's lists.
WORKER_TAG = ".dagster/export_worker"
#: How long a worker that is just being started may take to get its tag (seconds).
_TAGGING_SECONDS = 2.0
#: How long the warm process may take to answer, its own start included (seconds).
_FORKING_SECONDS = 60.0
_LOG_TAIL_BYTES = 2000

logger = logging.getLogger("dagster.export_pipeline.launcher")


class WarmProcessRunLauncher(RunLauncher[DagsterInstance], ConfigurableClass):
    """Forks run workers from a warm process; where that fails it starts them afresh.

    Workers outlive the daemon, unless `workers_end_with_daemon` is set, as for Dagster in the foreground.
    """

    def __init__(
        self, inst_data: ConfigurableClassData | None = None, *, workers_end_with_daemon: bool = False
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inst_data = inst_data
        self._end_workers = workers_end_with_daemon
        self._warm: subprocess.Popen[str] | None = None
        self._lock = Lock()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What dagster.yaml says."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> "UserConfigSchema":
        """What dagster.yaml may say."""
        return {"workers_end_with_daemon": Field(BoolSource, is_required=False, default_value=False)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> "WarmProcessRunLauncher":
        """Made by Dagster from dagster.yaml."""
        return cls(inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Starts the run's worker and returns at once."""
        run = context.dagster_run
        assert run.job_code_origin is not None  # Dagster refuses to submit a run without one
        arguments = ExecuteRunArgs(
            job_origin=run.job_code_origin,
            run_id=run.run_id,
            instance_ref=self._instance.get_ref(),
            set_exit_code_on_failure=True,
        )
        pid = self._start(arguments, self._log(run))
        self._instance.add_run_tags(run.run_id, {WORKER_TAG: str(Worker.here(pid))})

    def terminate(self, run_id: str) -> bool:
        """Tells the run's worker to stop; it kills itself where it does not manage to in time (see warm.py)."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        worker = self._worker_once_tagged(run)
        if worker is not None and not worker.on_this_machine:
            self._instance.report_engine_event(f"Its worker runs on {worker.host}; terminate it from there.", run)
            return False
        self._instance.report_run_canceling(run)
        if worker is None or not worker.signal(signal.SIGINT):
            self._instance.report_run_canceled(run, "The run's worker was gone already.")
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """So that run monitoring notices a worker that was killed."""
        return True

    def check_run_worker_health(self, run: "DagsterRun") -> CheckRunHealthResult:
        """Whether the run's worker lives."""
        worker = self._worker(run.run_id)
        if worker is None:
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "the run has no worker")
        if worker.alive:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"the run's worker (process {worker.process.pid}) is gone")

    def get_run_worker_debug_info(self, run: "DagsterRun", include_container_logs: bool | None = True) -> str | None:
        """The last that the worker said."""
        log = self._log(run)
        try:
            tail = log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
        except OSError:
            return None
        return f"{log} ends with:\n{tail}" if tail else None

    def dispose(self) -> None:
        """Ends the warm process."""
        with self._lock:
            self._discard()

    def _start(self, arguments: ExecuteRunArgs, log: Path) -> int:
        order = json.dumps({"arguments": serialize_value(arguments), "log": str(log)})
        with self._lock:
            # A warm process that has died is replaced once; the run is worth more than the second that it saves.
            for _ in range(2):
                try:
                    return self._fork(order)
                except (OSError, ValueError, KeyError) as error:
                    logger.warning("The warm process could not start a run's worker: %s", error)
                    # One that is merely slow would still carry out the order, beside whoever is given it next.
                    if self._warm is not None:
                        self._warm.kill()
                    self._discard()
        with log.open("ab") as out:
            command = arguments.get_command_args()
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            ).pid

    def _fork(self, order: str) -> int:
        if self._warm is None:
            command = [sys.executable, "-m", "export_pipeline.orchestration.warm"]
            self._warm = subprocess.Popen(
                [*command, "--end-workers"] if self._end_workers else command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        assert self._warm.stdin is not None and self._warm.stdout is not None
        self._warm.stdin.write(f"{order}\n")
        self._warm.stdin.flush()
        if not select.select([self._warm.stdout], [], [], _FORKING_SECONDS)[0]:
            raise OSError(f"it has not answered for {_FORKING_SECONDS:.0f} s")
        answer = json.loads(self._warm.stdout.readline())
        if "error" in answer:
            raise OSError(answer["error"])
        return int(answer["pid"])

    def _discard(self) -> None:
        warm, self._warm = self._warm, None
        if warm is None:
            return
        try:
            warm.communicate(timeout=5)
        except (OSError, subprocess.TimeoutExpired):
            warm.kill()
            warm.wait()

    def _worker(self, run_id: str) -> Worker | None:
        run = self._instance.get_run_by_id(run_id)
        return Worker.parse(run.tags.get(WORKER_TAG, "")) if run else None

    def _worker_once_tagged(self, run: "DagsterRun") -> Worker | None:
        until = time.monotonic() + _TAGGING_SECONDS
        while (worker := self._worker(run.run_id)) is None and time.monotonic() < until:
            time.sleep(0.05)
        return worker

    def _log(self, run: "DagsterRun") -> Path:
        folder = Path(self._instance.root_directory) / "run_workers"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{run.run_id}.log"
