"""Runs the door as a server, in this process: for `links serve`, and as a child of `up` (`python -m`).

It speaks plain HTTP and has no access log, which would hold the tokens; the application logs what was used.
"""

import fcntl
import json
import logging
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from export_pipeline.flow.engine import Engine
from export_pipeline.model.errors import Rejected
from export_pipeline.services import open_services
from export_pipeline.web.links import build_app

#: How long downloads that go on may take to end when the server is stopped (seconds).
_GRACE_SECONDS = 10


def serve(engine: Engine, listening: socket.socket) -> None:
    """Serves links on a socket that listens, until a signal ends the process."""
    make_server(engine).run(sockets=[listening])


def make_server(engine: Engine) -> uvicorn.Server:
    """The server of the door."""
    # access_log=False alone leaves it to whoever listens to that logger.
    logging.getLogger("uvicorn.access").disabled = True
    return uvicorn.Server(
        uvicorn.Config(
            build_app(engine),
            access_log=False,
            log_config=None,
            lifespan="off",
            ws="none",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any free one. Raises Rejected where that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise Rejected(
            f"cannot listen on {host} port {port}: {error}; choose another with --host and --port"
        ) from error


def log_to_stderr() -> None:
    """Has warnings of all, and what our door does, written to standard error."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("export_pipeline.web").setLevel(logging.INFO)


@contextmanager
def published(file: Path, address: str) -> Iterator[None]:
    """Has the file tell all settings where the door is, until the context ends or this process does: its lock goes
    then, however that happens, and a file without one is not believed."""
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        json.dump({"EXPORT_LINK_URL": address}, held)
        held.flush()
        yield


def main() -> None:
    """Serves links on the host and the port of the command line, and tells so in the file that it names."""
    host, port, file = sys.argv[1:]
    log_to_stderr()
    with (
        open_services() as engine,
        listen(host, int(port)) as listening,
        published(Path(file), f"http://{host}:{port}"),
    ):
        serve(engine, listening)


if __name__ == "__main__":
    main()
