"""Runs one command and measures it: wall-clock seconds, and the peak memory of that process."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: VmHWM only ever grows, so what the last look misses is what was allocated in the last moment.
_LOOK_EVERY_SECONDS = 0.01


@dataclass(frozen=True)
class Run:
    """One finished process. `peak_mb` is VmHWM in 2**20 bytes, 0 where /proc does not tell."""

    seconds: float
    peak_mb: float
    output: str


def run(command: Sequence[str], environment: Mapping[str, str], given: str = "") -> Run:
    """Runs the command to its end, with `given` as its standard input. Where it fails, exits with what it said."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    peaks: list[float] = []
    watcher = threading.Thread(target=_watch, args=(process.pid, peaks), daemon=True)
    watcher.start()
    try:
        output, errors = process.communicate(given)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    seconds = time.perf_counter() - started
    watcher.join()
    if process.returncode:
        raise SystemExit(
            f"{' '.join(command)[:200]} failed with {process.returncode}:\n{errors[-2000:]}{output[-500:]}"
        )
    return Run(seconds, max(peaks, default=0.0), output)


def python(*arguments: str) -> list[str]:
    """A command for this Python."""
    return [sys.executable, *arguments]


def _watch(pid: int, peaks: list[float]) -> None:
    status = Path(f"/proc/{pid}/status")
    while True:
        try:
            line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        except (OSError, StopIteration):
            return  # it has ended
        peaks.append(int(line.split()[1]) / 1024)
        time.sleep(_LOOK_EVERY_SECONDS)
