"""Dagster on this machine, for `up` and `demo`: a code server, the daemon and, if wanted, the web server and the door
for links, as children.

Each is a session of its own, so that Ctrl-C reaches this process alone, which then stops them in order; and each dies
with this process, however that happens. The code server is one for both of the others: a process less, and a second.
"""

import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import dagster as dg

from export_pipeline.embedded.processes import free_ports, is_free
from export_pipeline.model.errors import Broken
from export_pipeline.orchestration.launcher import WORKER_TAG
from export_pipeline.orchestration.worker import Worker
from export_pipeline.settings import DOOR_FILE, load_settings, state_folder

_MODULE = "export_pipeline.definitions"
_SENSOR = "export_requests_sensor"
#: How long all of it may take to come up, or one child or worker to stop before it is killed (seconds).
_START_SECONDS = 90.0
_STOP_SECONDS = 2.0
_WORKER_SECONDS = 5.0
_POLL_SECONDS = 0.05
_FOLDER_PREFIX = "export-pipeline-"
_PR_SET_PDEATHSIG = 1
#: Every tick of every sensor is a line otherwise, and the files are as long as Dagster runs.
_QUIET = ("--log-level", "warning")
_ACTIVE = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


@contextmanager
def running_dagster(state: Path | None = None, *, web: bool) -> Iterator[str]:
    """Dagster, ready to launch runs, until the context ends; yields the address of its web server (empty: none).

    Where another process runs it on the same state already, that one is used, and goes on. Raises Broken.
    """
    home = (state or state_folder()) / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "running.lock").open("a+") as lock, ExitStack() as stack:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield _address_of_other(home)
            return
        prepare_home(home)
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield _start(stack, instance, home, web=web)
            stack.close()


def prepare_home(home: Path) -> None:
    """Makes the folder a DAGSTER_HOME: the project's dagster.yaml, with workers that end with the daemon."""
    home.mkdir(parents=True, exist_ok=True)
    text = (files(__package__) / "dagster.yaml").read_text()
    launcher = "  class: WarmProcessRunLauncher\n"
    assert launcher in text
    text = text.replace(launcher, f"{launcher}  config: {{workers_end_with_daemon: true}}\n")
    (home / "dagster.yaml").write_text(text)


def _start(stack: ExitStack, instance: dg.DagsterInstance, home: Path, *, web: bool) -> str:
    started = time.time()
    folder = socket_folder(stack, home)
    code_socket = folder / "code.sock"
    workspace = folder / "workspace.yaml"
    server = {"socket": str(code_socket), "location_name": "export_pipeline"}
    workspace.write_text(json.dumps({"load_from": [{"grpc_server": server}]}))  # which is YAML, too

    children: list[_Child] = []
    stack.callback(_stop, children, instance)
    door = _door_of(stack, home) if web else None
    told = {"EXPORT_LINK_URL": door.address} if door else {}
    code_server = ["dagster", "api", "grpc", "-m", _MODULE, "--socket", str(code_socket), *_QUIET]
    children.append(_Child(home, "code-server", code_server, told))
    _wait(lambda: _answers(code_socket), children)

    address = ""
    served = []
    if web:
        port = _kept_port(home, "port")
        address = f"http://127.0.0.1:{port}"
        served.append(f"{address}/server_info")
        arguments = ["-h", "127.0.0.1", "-p", str(port), "-w", str(workspace)]
        children.append(_Child(home, "webserver", ["dagster_webserver", *arguments], told))
    (home / "address.json").write_text(json.dumps({"address": address}))

    children.append(_Child(home, "daemon", ["dagster._daemon", "run", "-w", str(workspace), *_QUIET], told))
    if door:
        served.append(f"{door.address}/health")
        serve = ["export_pipeline.web.serve", "127.0.0.1", str(door.port), str(door.file)]
        children.append(_Child(home, "links", serve, told))
    _wait(lambda: _ticks(instance, started) and all(map(_serves, served)), children)
    return address


def socket_folder(stack: ExitStack, home: Path) -> Path:
    """A folder for sockets, until the stack unwinds. Not in the state folder: a socket's path may not be longer than a
    hundred characters. One that was left by a process that was killed goes now."""
    note = home / "sockets"
    former = Path(note.read_text()) if note.exists() else None
    if former is not None and former.name.startswith(_FOLDER_PREFIX):
        shutil.rmtree(former, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    note.write_text(str(folder))
    return folder


@dataclass(frozen=True)
class _Door:
    """Where the door for links is to listen, and the file in which it tells other processes while it does."""

    port: int
    file: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def _door_of(stack: ExitStack, home: Path) -> _Door | None:
    """The door to start; None where EXPORT_LINK_URL names another."""
    file = home.parent / DOOR_FILE
    file.unlink(missing_ok=True)
    if load_settings().link_url:
        return None
    stack.callback(file.unlink, missing_ok=True)
    return _Door(_kept_port(home, "links_port"), file)


class _Child:
    """A process of ours, which dies with this one. Its output goes into a file of its name."""

    def __init__(self, home: Path, name: str, command: Sequence[str], told: dict[str, str]) -> None:
        self.name = name
        self.log = home / "processes" / f"{name}.log"  # Dagster empties a folder named logs
        self.log.parent.mkdir(exist_ok=True)
        with self.log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"DAGSTER_HOME": str(home), "EXPORT_STATE_DIRECTORY": str(home.parent)} | told,
                preexec_fn=_as_child,  # noqa: PLW1509  (no thread of ours is running yet)
            )

    def check(self) -> None:
        """Raises Broken where the process has ended."""
        code = self._process.poll()
        if code is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-10:])
            raise Broken(f"Dagster's {self.name} ended with code {code}; {self.log} ends with:\n{tail}")

    def tell(self, number: signal.Signals) -> None:
        """Sends a signal to the process and whatever it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def ended_by(self, until: float) -> bool:
        """Waits until then, on the monotonic clock, for the process to end."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, until - time.monotonic()))
        return self._process.returncode is not None


def _as_child() -> None:
    # A shell's background has SIGINT ignored, which Dagster would inherit, and then hang on stop.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _stop(children: Sequence[_Child], instance: dg.DagsterInstance) -> None:
    """Stops the children, the last one first, then the workers that they started."""
    try:
        for child in reversed(children):
            child.tell(signal.SIGTERM)
        until = time.monotonic() + _STOP_SECONDS
        for child in reversed(children):
            child.ended_by(until)
        _stop_workers(instance)
    finally:
        for child in children:
            child.tell(signal.SIGKILL)
            child.ended_by(time.monotonic() + _STOP_SECONDS)


def _stop_workers(instance: dg.DagsterInstance) -> None:
    """Tells the runs' workers to stop, and kills those that do not."""
    runs = instance.get_runs(dg.RunsFilter(statuses=_ACTIVE))
    found = [Worker.parse(run.tags.get(WORKER_TAG, "")) for run in runs]
    workers = [worker for worker in found if worker and worker.signal(signal.SIGTERM)]
    until = time.monotonic() + _WORKER_SECONDS
    while any(worker.alive for worker in workers) and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
    for worker in workers:
        worker.signal(signal.SIGKILL)


def _wait(ready: Callable[[], bool], children: Sequence[_Child]) -> None:
    until = time.monotonic() + _START_SECONDS
    while not ready():
        for child in children:
            child.check()
        if time.monotonic() > until:
            raise Broken(f"Dagster is not up after {_START_SECONDS:.0f} s; see {children[-1].log.parent}")
        time.sleep(_POLL_SECONDS)


def _answers(path: Path) -> bool:
    """Whether somebody listens on the socket: the code server opens it once the definitions are loaded."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _serves(address: str) -> bool:
    try:
        with urlopen(address, timeout=5) as response:  # noqa: S310
            return bool(response.status == 200)
    except (URLError, OSError):
        return False


def _ticks(instance: dg.DagsterInstance, since: float) -> bool:
    """Whether the requests' sensor has begun a tick: then the daemon runs, and has loaded the definitions."""
    for found in instance.all_instigator_state():
        if found.instigator_name == _SENSOR:
            return bool(instance.get_ticks(found.instigator_origin_id, found.selector_id, after=since, limit=1))
    return False


def _kept_port(home: Path, name: str) -> int:
    """A server's port, kept in the file of that name: the same from run to run, unless somebody else took it."""
    path = home / name
    kept = int(path.read_text()) if path.exists() else 0
    if not kept or not is_free(kept):
        kept = free_ports(1)[0]
        path.write_text(str(kept))
    return kept


def _address_of_other(home: Path) -> str:
    try:
        return str(json.loads((home / "address.json").read_text())["address"])
    except (OSError, ValueError):
        return ""
