"""A port on which a few paths are answered and nothing else: for kubelets, Prometheus, an operator.

It stands beside another server in a pod, and needs no more than the standard library.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import NamedTuple


class Answer(NamedTuple):
    """An HTTP answer: its status, its content type, its body."""

    status: int
    kind: str
    body: bytes


_NOT_OFFERED = Answer(HTTPStatus.NOT_FOUND, "text/plain", b"not offered\n")


@contextmanager
def answering(answers: Mapping[str, Callable[[], Answer]], host: str, port: int) -> Iterator[int]:
    """Answer GET of each path of `answers` until the block ends.

    Gives the port that is listened on, chosen where 0 was given.  Raises OSError where that is
    taken.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:
            found = answers[self.path]() if self.path in answers else _NOT_OFFERED
            self.send_response(found.status)
            self.send_header("content-type", found.kind)
            self.send_header("content-length", str(len(found.body)))
            self.end_headers()
            self.wfile.write(found.body)

        def log_message(self, *_: object) -> None:
            """Say nothing: the same is asked every few seconds."""

    with ThreadingHTTPServer((host, port), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
