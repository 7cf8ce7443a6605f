"""The warm process: has Dagster and the project imported and forks a run worker for each line that it reads.

Starting Python and importing both takes more than a second, a fork some milliseconds. Only what starts no thread may be
imported here (Polars does, whatever it is told), and nothing that reads settings or users' datasets, which a worker
finds as they are when it starts. Once the project's own files have changed it forks no more: that would be the old
code. It ends with its standard input; its workers live on, unless they are to end with it.

Each line is a JSON object {"arguments", "log"}; each is answered by one, {"pid"} or {"error"}.
"""

import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_PRELOADED = (
    "dagster",
    "dagster._cli.api",
    "dagster._core.execution.api",
    "dagster._core.launcher.default_run_launcher",
    "dagster._core.run_coordinator.queued_run_coordinator",
    "dagster._core.storage.compute_log_manager",
    "dagster._core.storage.event_log.sqlite",
    "dagster._core.storage.legacy_storage",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.runs.sqlite",
    "dagster._core.storage.schedules.sqlite",
    "dagster._core.storage.sqlite_storage",
    "adbc_driver_manager",
    "adbc_driver_postgresql",
    "boto3",
    "botocore.client",
    "duckdb",
    "obstore.store",
    "psycopg",
    "psycopg_pool",
    "pyarrow",
    "export_pipeline.orchestration.build",
)
_PROJECT = Path(__file__).parents[1]
#: NumPy and Arrow start no thread then: of linear algebra, which nobody does here, and one that tidies up memory.
_WITHOUT_THREADS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
#: Linux lists a process's threads here, also those that Python does not know.
_THREADS = Path("/proc/self/task")
_PR_SET_PDEATHSIG = 1
_STOPPING = {signal.SIGINT, signal.SIGTERM}
#: How long a run that was told to stop may take before its worker is killed (seconds).
_GRACE_SECONDS = 20.0


def serve(end_workers: bool) -> None:
    """Imports, then forks a worker for each line of standard input, until it ends."""
    os.environ.update(_WITHOUT_THREADS)
    as_imported = _project()
    for name in _PRELOADED:
        importlib.import_module(name)
    # Nobody waits for the workers, so the system removes what is left of them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # A worker that is told to stop before it listens shall hear of it afterwards; the warm process ends with its input.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    gc.collect()
    gc.freeze()  # shared memory stays shared
    for line in iter(sys.stdin.readline, ""):
        order = json.loads(line)
        if _project() == as_imported:
            answer = _fork(order["arguments"], Path(order["log"]), end_workers)
        else:
            answer = {"error": "the project's code has changed since it was imported"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _project() -> dict[str, int]:
    """The project's modules, and when each was changed."""
    return {str(path): path.stat().st_mtime_ns for path in _PROJECT.rglob("*.py")}


def _fork(arguments: str, log: Path, end_workers: bool) -> dict[str, object]:
    if (len(list(_THREADS.iterdir())) if _THREADS.exists() else threading.active_count()) > 1:
        return {"error": "the warm process has threads: forking it is not safe"}
    warm = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        return {"error": str(error)}
    if pid:
        return {"pid": pid}
    code = 70  # unless all goes well
    try:
        if end_workers:
            _end_with(warm)
        code = _work(arguments, log)
    finally:
        # Neither the warm process's clean-up nor threads that were given up may hold the worker back.
        os._exit(code)


def _work(arguments: str, log: Path) -> int:
    """Runs in the worker: executes the run as `dagster api execute_run` does. Returns the exit code."""
    import traceback

    os.setsid()
    _redirect(log)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)

    from dagster._cli.api import execute_run_command
    from dagster._utils.interrupts import capture_interrupts

    run: Callable[[str, None], None] = execute_run_command.callback  # type: ignore[assignment]
    code = 0
    try:
        with capture_interrupts():
            _kill_when_stuck()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
            run(arguments, None)
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    if code == 0:
        # What it says is in Dagster's event log; the file is for workers that could not write there.
        with suppress(OSError):
            log.unlink()
    return code


def _end_with(parent: int) -> None:
    """This process is told to stop when its parent ends, however that happens. Only Linux can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != parent:
            os._exit(0)


def _redirect(log: Path) -> None:
    empty = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    os.dup2(empty, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)


def _kill_when_stuck() -> None:
    """Ends the worker, with whatever it started, when it does not stop in time after it was told to.

    The signal's number arrives in the pipe at once, even while the main thread is in native code and its handler waits.
    """
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)

    def watch() -> None:
        while os.read(heard, 1)[0] not in _STOPPING:
            pass
        threading.Event().wait(_GRACE_SECONDS)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="kill-when-stuck", daemon=True).start()


if __name__ == "__main__":
    serve(end_workers="--end-workers" in sys.argv)
