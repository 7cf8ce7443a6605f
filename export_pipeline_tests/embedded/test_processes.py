"""Processes recognised, and ports that stay theirs."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from export_pipeline.embedded.processes import GRPC_OFFSET, free_ports, is_free, start_of

#: Its first thread ends, as of any thread, and the other stays.
HALF_ENDED = """
import ctypes, platform, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)
"""
LENT = Path("/proc/sys/net/ipv4/ip_local_port_range")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads end one by one on Linux")
def test_process_when_its_first_thread_has_ended_then_it_lives_until_the_last_has() -> None:
    process = subprocess.Popen([sys.executable, "-c", HALF_ENDED])
    try:
        started = start_of(process.pid)
        state = Path(f"/proc/{process.pid}/stat")
        wait_until(lambda: state.read_text().rpartition(")")[2].split()[0] == "Z")
        assert start_of(process.pid) == started != ""
        process.send_signal(signal.SIGKILL)
        wait_until(lambda: start_of(process.pid) == "")
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(not LENT.exists(), reason="this system does not say which ports it lends")
def test_ports_when_chosen_then_free_and_none_that_outgoing_connections_are_lent() -> None:
    first, last = map(int, LENT.read_text().split())
    ports = [port for _ in range(50) for port in free_ports(5)]
    taken = {near for port in ports for near in (port, port + GRPC_OFFSET)}
    assert all(map(is_free, taken))
    assert not [port for port in taken if first <= port <= last]


def wait_until(done: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not done():
        assert time.monotonic() < until
        time.sleep(0.01)
