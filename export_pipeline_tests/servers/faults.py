"""A proxy on loopback that does to a server's clients what networks and stores do: refuse, hang, cut, answer 503."""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_REASONS = {500: "Internal Server Error", 503: "Slow Down"}


@dataclass
class FaultProxy:
    """Passes bytes on, until told otherwise. `failing` are texts: a request whose first line holds one is answered
    `status`, `failures` times at the most, after `sparing` of them were passed on."""

    target: int
    port: int = 0
    refusing: bool = False
    hanging: bool = False
    bytes_per_second: int = 0
    failing: tuple[str, ...] = ()
    sparing: int = 0
    failures: int = 1_000_000
    status: int = 503
    failed: int = 0
    _open: set[socket.socket] = field(default_factory=set)

    def cut(self) -> None:
        """Closes all connections that are open now."""
        for connection in list(self._open):
            self._open.discard(connection)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def heal(self) -> None:
        """Passes everything on again."""
        self.refusing = self.hanging = False
        self.bytes_per_second = 0
        self.failing = ()

    def serve(self, client: socket.socket) -> None:
        """One connection."""
        with client, contextlib.suppress(OSError):
            if self.refusing:
                return
            with socket.create_connection(("127.0.0.1", self.target)) as server:
                self._open |= {client, server}
                try:
                    self._pass_on(client, server)
                finally:
                    self._open -= {client, server}

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        while client in self._open:
            if self.hanging:
                time.sleep(0.05)
                continue
            readable, _, _ = select.select([client, server], [], [], 0.1)
            if self.hanging:
                continue
            for source in readable:
                data = source.recv(65_536)
                if not data:
                    return
                if source is client and self._fails(data):
                    self.failed += 1
                    client.sendall(self._answer())
                    return
                if self.bytes_per_second:
                    time.sleep(len(data) / self.bytes_per_second)
                (server if source is client else client).sendall(data)

    def _answer(self) -> bytes:
        head = (f"HTTP/1.1 {self.status} {_REASONS[self.status]}", "Content-Type: application/xml", "Content-Length: 0")
        return "\r\n".join((*head, "Connection: close", "", "")).encode()

    def _fails(self, data: bytes) -> bool:
        line = data.partition(b"\r\n")[0].decode("latin-1")
        if " HTTP/1" not in line or not any(text in line for text in self.failing):
            return False
        if self.sparing > 0:
            self.sparing -= 1
            return False
        return self.failed < self.failures


@contextmanager
def fault_proxy(target: int) -> Iterator[FaultProxy]:
    """A proxy in front of the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = FaultProxy(target, port=listener.getsockname()[1])

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=proxy.serve, args=(client,), name="fault-connection", daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield proxy
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        proxy.cut()
        thread.join(2)
