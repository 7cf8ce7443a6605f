"""The embedded services: their state, their ports, and how they get over being killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from export_pipeline.embedded import services
from export_pipeline.embedded.processes import Process, start_of
from export_pipeline.settings import load_settings


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "a folder with spaces" / "state"
    yield folder
    services.stop(folder)


def processes(state: Path) -> dict[str, Process]:
    found = json.loads((state / "services.json").read_text())["processes"]
    return {name: Process(**process) for name, process in found.items()}


def test_services_when_started_killed_and_stopped_then_data_and_ports_stay(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = services.start(state)
    assert (state / "services.json").stat().st_mode & 0o777 == 0o600
    assert services.start(state) == first, "a second start starts nothing"
    assert services.status(state)["running"] is True
    assert set(services.status(state)) >= {
        "database_url",
        "s3_endpoint_url",
        "bucket",
        "access_key_id",
        "secret_access_key",
    }

    monkeypatch.setenv("EXPORT_STATE_DIRECTORY", str(state))
    settings = load_settings()
    assert settings.database_url.get_secret_value() == first["database_url"]
    assert settings.s3_bucket_name == "exports"
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://me@127.0.0.1/mine")
    assert load_settings().database_url.get_secret_value() == "postgresql://me@127.0.0.1/mine"

    with psycopg.connect(first["database_url"], autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    for process in processes(state).values():
        os.kill(process.pid, signal.SIGKILL)
    until = time.monotonic() + 5
    while any(process.alive for process in processes(state).values()) and time.monotonic() < until:
        time.sleep(0.05)
    assert services.status(state) == {"running": False}
    again = services.start(state)
    assert {name: again[name] for name in ("database_url", "s3_endpoint_url", "access_key_id")} == {
        name: first[name] for name in ("database_url", "s3_endpoint_url", "access_key_id")
    }
    with psycopg.connect(again["database_url"]) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)

    ended = processes(state)
    services.stop(state)
    assert not any(process.alive for process in ended.values())
    assert services.status(state) == {"running": False}
    services.stop(state)


def test_services_when_their_owner_is_killed_then_they_die_with_it(state: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from export_pipeline.embedded import services\n"
        "with services.running(Path(sys.argv[1])):\n    print('up', flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", script, str(state)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "up\n"
    owned = processes(state)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    until = time.monotonic() + 10
    while any(process.alive for process in owned.values()) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(process.alive for process in owned.values())


def test_process_when_its_id_is_taken_by_another_then_it_is_not_alive() -> None:
    assert Process(os.getpid(), start_of(os.getpid())).alive
    assert not Process(os.getpid(), "another time").alive
