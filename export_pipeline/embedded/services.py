"""The two embedded services together: started, stopped and told about, with all state in the state folder.

`services.json` there says how to reach them while they run; the settings read it. Ports are chosen at the first start
and kept.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from export_pipeline.embedded.postgres import Postgres
from export_pipeline.embedded.private_file import write_private
from export_pipeline.embedded.processes import Process, free_ports, is_free, reap
from export_pipeline.embedded.s3 import PORTS, S3
from export_pipeline.model.errors import Broken

BUCKET = "exports"


def start(state: Path, *, owned: bool = False) -> dict[str, Any]:
    """Starts what does not run yet and returns how to reach it; where one fails, both are as before. Raises Broken."""
    with _locked(state):
        running = _running(_read(state))
        postgres, s3 = _servers(state, running)
        processes = dict(running)
        try:
            if "postgres" not in running:
                processes["postgres"] = postgres.start(owned=owned)
            if "s3" not in running:
                processes["s3"] = s3.start(owned=owned)
            s3.create_bucket(BUCKET)
        except BaseException:
            _stop({name: process for name, process in processes.items() if name not in running})
            raise
        key_id, secret = s3.keys()
        document = {
            "database_url": postgres.url(),
            "s3_endpoint_url": s3.endpoint,
            "bucket": BUCKET,
            "access_key_id": key_id,
            "secret_access_key": secret,
            "processes": {name: vars(process) for name, process in processes.items()},
        }
        write_private(_path(state), json.dumps(document, indent=2))
        return document


def stop(state: Path, only: frozenset[str] = frozenset({"postgres", "s3"})) -> None:
    """Stops those of them that run. Nothing that they have stored is lost."""
    with _locked(state):
        running = _running(_read(state))
        _stop({name: process for name, process in running.items() if name in only})
        if set(running) <= only:
            _path(state).unlink(missing_ok=True)


def status(state: Path) -> dict[str, Any]:
    """How to reach them, with `running`; without the keys where they do not run."""
    known = _read(state)
    running = set(_running(known)) == {"postgres", "s3"}
    return {"running": running} | ({name: known[name] for name in known if name != "processes"} if running else {})


@contextmanager
def running(state: Path) -> Iterator[dict[str, Any]]:
    """Has them run until the context ends; what ran before goes on."""
    before = set(_running(_read(state)))
    try:
        yield start(state, owned=True)
    finally:
        stop(state, only=frozenset({"postgres", "s3"} - before))


def _servers(state: Path, running: dict[str, Process]) -> tuple[Postgres, S3]:
    """The servers on their ports. A port that somebody else took meanwhile is replaced, with all of its server's."""
    path = state / "ports.json"
    ports = json.loads(path.read_text()) if path.exists() else {}
    for name, count in (("postgres", 1), ("s3", PORTS)):
        kept = ports.get(name, [])
        if len(kept) != count or (name not in running and not all(is_free(port) for port in kept)):
            ports[name] = free_ports(count)
    path.write_text(json.dumps(ports))
    return Postgres(state / "postgres", ports["postgres"][0]), S3(state / "s3", ports["s3"])


def _stop(processes: dict[str, Process]) -> None:
    for name, server in (("s3", S3), ("postgres", Postgres)):
        if name in processes:
            server.stop(processes[name])


def _running(known: dict[str, Any]) -> dict[str, Process]:
    reap()
    found = {name: Process(**process) for name, process in known.get("processes", {}).items()}
    return {name: process for name, process in found.items() if process.alive}


def _path(state: Path) -> Path:
    return state / "services.json"


def _read(state: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(_path(state).read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        raise Broken(f"{_path(state)} is damaged; stop the services by hand and delete it") from None
    return found


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    """One process at a time starts or stops."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "services.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
