"""What kubelet and Prometheus ask of the process: /healthz, /readyz, /metrics."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

Question = Callable[[], str]
"""Answers what is wrong, nothing when all is well."""


@contextmanager
def served(host: str, port: int, registry: CollectorRegistry, ready: Question) -> Iterator[int]:
    """Answer on a port (0: any free one) until the context ends; yields the port.

    /healthz: 200 while the process answers at all; /readyz: 503 with what is wrong, else 200.

    Raises:
        OSError: the port is taken, or the address is nobody's here.
    """
    kind = _Server6 if ":" in host else _Server
    server = make_server(host, port, _application(registry, ready), kind, _Quiet)
    thread = threading.Thread(target=server.serve_forever, name="serving", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _application(
    registry: CollectorRegistry, ready: Question
) -> "Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]":
    metrics = make_wsgi_app(registry)

    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            answer: Iterable[bytes] = metrics(environ, start_response)
            return answer
        if path not in {"/healthz", "/readyz"}:
            status, text = HTTPStatus.NOT_FOUND, "there are /healthz, /readyz and /metrics"
        elif wrong := ready() if path == "/readyz" else "":
            status, text = HTTPStatus.SERVICE_UNAVAILABLE, wrong
        else:
            status, text = HTTPStatus.OK, "ok"
        start_response(
            f"{status.value} {status.phrase}", [("content-type", "text/plain; charset=utf-8")]
        )
        return [f"{text}\n".encode()]

    return application


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each question: one that is asked slowly holds up no other."""

    daemon_threads = True


class _Server6(_Server):
    """The same at an address of IPv6."""

    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    """Logs no requests: there is one each few seconds."""

    timeout = 10  # seconds that a caller may take over its question

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""
