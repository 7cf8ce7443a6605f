"""Servers as processes of ours: started detached or tied to this process's life, recognised safely, ended by id."""

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: gRPC ports of the S3 server are its HTTP ports and this.
GRPC_OFFSET = 10_000
#: With their gRPC ports, these end before those that systems lend to outgoing connections.
_PORTS = (10_240, 22_768)
_PR_SET_PDEATHSIG = 1
_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process by its id and the moment it started (in clock ticks since boot): together they are not used twice."""

    pid: int
    started: str

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return start_of(self.pid) == self.started

    def end(self, first: signal.Signals, patience_seconds: float) -> None:
        """Asks the process to stop with `first`, and kills it if it has not after so long."""
        for number, seconds in ((first, patience_seconds), (signal.SIGKILL, 5.0)):
            if not self.alive:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
            until = time.monotonic() + seconds
            while self.alive and time.monotonic() < until:
                time.sleep(0.02)
            reap()


def start_of(pid: int) -> str:
    """When the process started, as text that never changes while it lives; empty where there is none, or a zombie. One
    whose first thread has ended before the others is no zombie yet: it still holds its files and ports."""
    if _PROC.is_dir():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] == "Z" and int(fields[17]) <= 1 else fields[19]
    found = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = found.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else started.strip()


def launch(
    command: Sequence[str | Path],
    log: Path,
    *,
    owned: bool,
    user: int | None = None,
    environment: Mapping[str, str] | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
) -> Process:
    """Starts a server in a session of its own, its output in `log`. One that is `owned` gets `death_signal` when this
    process dies, however that happens (on Linux)."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=log.parent,
            env={**os.environ, **(environment or {})},
            user=user,
            group=user,
            extra_groups=[] if user is not None else None,
            preexec_fn=_dying_with_parent(death_signal) if owned and sys.platform == "linux" else None,  # noqa: PLW1509
        )
    # The child is ours to reap only while we live; nobody waits for it, so a thread-free `poll` is all that is needed.
    _children.append(child)
    return Process(child.pid, start_of(child.pid))


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens on, nor on the gRPC ports that belong to them: none of those that systems
    lend to outgoing connections (from 32768 on), which would be taken now and then when a server comes back to it."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(*_PORTS)  # noqa: S311  (no secret)
        taken = {near for known in ports for near in (known - GRPC_OFFSET, known, known + GRPC_OFFSET)}
        if port not in taken and is_free(port) and is_free(port + GRPC_OFFSET):
            ports.append(port)
    return ports


def is_free(port: int) -> bool:
    """Whether nobody listens on the port on loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def reap() -> None:
    """Collects children that have ended, so that none stays as a zombie."""
    for child in list(_children):
        if child.poll() is not None:
            _children.remove(child)


_children: list["subprocess.Popen[bytes]"] = []


def _dying_with_parent(number: signal.Signals) -> Callable[[], None]:
    library = ctypes.CDLL(None)

    def prepare() -> None:
        library.prctl(_PR_SET_PDEATHSIG, int(number))

    return prepare
