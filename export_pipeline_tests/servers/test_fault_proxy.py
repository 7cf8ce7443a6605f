"""The fault proxy does what the tests that rely on it think it does."""

import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from export_pipeline_tests.servers.faults import FaultProxy, fault_proxy

BODY = b"0123456789" * 20_000


class Answering(BaseHTTPRequestHandler):
    """Sends the body to every GET; a PUT is answered with what it sent."""

    def do_GET(self) -> None:
        self._send(BODY)

    def do_PUT(self) -> None:
        self._send(self.rfile.read(int(self.headers["Content-Length"])))

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        with fault_proxy(server.server_address[1]) as opened:
            yield opened
        server.shutdown()
        thread.join()


def ask(
    proxy: FaultProxy, path: str = "/", *, method: str = "GET", data: bytes | None = None, timeout: float = 5
) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{proxy.port}{path}", data=data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            assert answer.read() == (data or BODY)
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_proxy_when_healthy_then_bytes_pass_unchanged(proxy: FaultProxy) -> None:
    assert ask(proxy) == 200
    assert ask(proxy, method="PUT", data=bytes(range(256)) * 4000) == 200
    assert proxy.failed == 0


def test_proxy_when_one_request_is_to_fail_then_only_that_one(proxy: FaultProxy) -> None:
    proxy.failing, proxy.sparing, proxy.failures, proxy.status = ("PUT /file?partNumber=2&",), 1, 1, 500
    path = "/file?partNumber=2&uploadId=x"
    answers = [ask(proxy, path, method="PUT", data=b"part") for _ in range(3)]
    assert answers == [200, 500, 200]
    assert ask(proxy, path) == 200, "another method"
    assert ask(proxy, "/file?partNumber=22", method="PUT", data=b"part") == 200
    assert proxy.failed == 1


def test_proxy_when_failing_for_good_then_503_until_healed(proxy: FaultProxy) -> None:
    proxy.failing = ("GET ",)
    assert [ask(proxy), ask(proxy)] == [503, 503]
    proxy.heal()
    assert ask(proxy) == 200


def test_proxy_when_refusing_then_the_connection_is_closed(proxy: FaultProxy) -> None:
    proxy.refusing = True
    with pytest.raises((ConnectionError, urllib.error.URLError)):
        ask(proxy)
    proxy.heal()
    assert ask(proxy) == 200


def test_proxy_when_hanging_then_no_answer_and_no_busy_waiting(proxy: FaultProxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        time.sleep(0.3)
        proxy.hanging = True
        client.sendall(b"Host: localhost\r\n\r\n")
        client.settimeout(0.6)
        used = time.process_time()
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert time.process_time() - used < 0.3
        proxy.heal()
        client.settimeout(5)
        assert client.recv(15) == b"HTTP/1.0 200 OK"


def test_proxy_when_cut_then_open_connections_end_even_hanging_ones(proxy: FaultProxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
        time.sleep(0.2)
        proxy.hanging = True
        proxy.cut()
        assert client.recv(1) == b""
    until = time.monotonic() + 5
    while any(thread.name.startswith("fault-") for thread in threading.enumerate()) and time.monotonic() < until:
        time.sleep(0.02)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fault-")]


def test_proxy_when_slow_then_bytes_take_their_time(proxy: FaultProxy) -> None:
    proxy.bytes_per_second = 400_000
    began = time.monotonic()
    assert ask(proxy) == 200
    assert time.monotonic() - began >= 0.45
