"""The door as a real server on loopback, and requests to it that follow no redirect."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socket import socket
from threading import Thread
from urllib.parse import urlsplit

from export_pipeline.flow.engine import Engine
from export_pipeline.web.serve import make_server


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: dict[str, str]
    body: bytes


@contextmanager
def serving(engine: Engine, listening: socket) -> Iterator[None]:
    """The door on the engine, until the context ends."""
    server = make_server(engine)
    thread = Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def ask(url: str, method: str = "GET") -> Answer:
    """One request, whose answer is taken as it is."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    try:
        connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path)
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()
