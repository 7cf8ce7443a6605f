"""An HTTP server on loopback that keeps what is posted to it, as a chat's webhook would."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

PATH = "/services/T0KEN-hush"


@dataclass
class Hook:
    """What came in, by its path; `status` is what is answered, with `location` as where to go instead."""

    port: int = 0
    posts: list[tuple[str, bytes]] = field(default_factory=list)
    status: int = 200
    location: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"


@contextmanager
def hook_server() -> Iterator[Hook]:
    """The server, until the context ends."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.posts.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(hook.status)
            if hook.location:
                self.send_header("Location", hook.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hook.port = server.server_address[1]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hook
        finally:
            server.shutdown()
            thread.join()
