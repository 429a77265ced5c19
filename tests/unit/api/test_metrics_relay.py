"""Who may read a server's metrics gets nothing else of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest
from ports import HOST, free_port

from nexus_api.metrics_relay import relaying

KIND = "text/plain; version=0.0.4; charset=utf-8"


class Server:
    """A server that counts what it is asked, and tells metrics."""

    def __init__(self, status: int) -> None:
        self.asked: list[tuple[str, str]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append((self.path, self.headers.get("authorization", "")))
                self.send_response(status)
                self.send_header("content-type", KIND)
                self.end_headers()
                self.wfile.write(b"requests_total 7\n")

            def log_message(self, *_: object) -> None: ...

        self.http = ThreadingHTTPServer((HOST, 0), Handler)


@contextmanager
def relayed(status: int = 200) -> Iterator[tuple[Server, str]]:
    server = Server(status)
    with server.http:
        thread = Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            with relaying(server.http.server_address[1], HOST, 0) as port:
                yield server, f"http://{HOST}:{port}"
        finally:
            server.http.shutdown()
            thread.join()


def test_metrics_are_told_as_the_server_tells_them() -> None:
    with relayed() as (server, url):
        answer = httpx.get(f"{url}/metrics", headers={"authorization": "Bearer x"})
    assert (answer.status_code, answer.text) == (200, "requests_total 7\n")
    assert answer.headers["content-type"] == KIND
    assert server.asked == [("/metrics", "")], "what a caller sends stays here"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("GET", "/metrics/../v1/models"),
        ("GET", "/metrics?x=/v1/models"),
        ("GET", "/"),
        ("POST", "/metrics"),
        ("POST", "/v1/load_lora_adapter"),
        ("DELETE", "/metrics"),
        ("OPTIONS", "/metrics"),
    ],
)
def test_nothing_else_reaches_the_server(method: str, path: str) -> None:
    with relayed() as (server, url):
        # As it stands: a client that tidies paths would ask for another one.
        request = httpx.Request(method, url, extensions={"target": path.encode()})
        with httpx.Client() as client:
            assert client.send(request).is_error
    assert server.asked == []


def test_a_server_that_is_not_ready_is_told_of() -> None:
    with relayed(status=503) as (_, url):
        assert httpx.get(f"{url}/metrics").status_code == 503


def test_a_server_that_does_not_answer_is_told_of() -> None:
    with relaying(free_port(), HOST, 0) as port:
        assert httpx.get(f"http://{HOST}:{port}/metrics").status_code == 502
