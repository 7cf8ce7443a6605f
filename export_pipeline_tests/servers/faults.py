"""A proxy on loopback that does to a server's clients what networks and stores do: refuse, hang, cut, answer 503."""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_UNAVAILABLE = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)


@dataclass
class FaultProxy:
    """Passes bytes on, until told otherwise. `failing` are texts: a request whose first line holds one is answered 503,
    `failures` times at the most."""

    target: int
    port: int = 0
    refusing: bool = False
    hanging: bool = False
    bytes_per_second: int = 0
    failing: tuple[str, ...] = ()
    failures: int = 1_000_000
    failed: int = 0
    _open: set[socket.socket] = field(default_factory=set)

    def cut(self) -> None:
        """Closes all connections that are open now."""
        for connection in list(self._open):
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
        while True:
            readable, _, _ = select.select([client, server], [], [], 0.1)
            if self.hanging:
                continue
            for source in readable:
                data = source.recv(65_536)
                if not data:
                    return
                if source is client and self._fails(data):
                    self.failed += 1
                    client.sendall(_UNAVAILABLE)
                    return
                if self.bytes_per_second:
                    time.sleep(len(data) / self.bytes_per_second)
                (server if source is client else client).sendall(data)

    def _fails(self, data: bytes) -> bool:
        line = data.partition(b"\r\n")[0].decode("latin-1")
        return self.failed < self.failures and " HTTP/1" in line and any(text in line for text in self.failing)


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
                threading.Thread(target=proxy.serve, args=(client,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield proxy
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        proxy.cut()
        thread.join(2)
