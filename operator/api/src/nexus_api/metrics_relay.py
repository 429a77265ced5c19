"""A port that tells the metrics of a server in the same pod, and answers nothing else.

Servers of models tell them on the port on which they answer questions and take orders, and a
NetworkPolicy lets a caller reach a port or not, whatever it asks there.
"""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

PATH = "/metrics"
_ASK_SECONDS = 8.0
"""Less than the ten seconds that Prometheus waits."""


@contextmanager
def relaying(server_port: int, host: str, port: int) -> Iterator[int]:
    """Relay the metrics of a server of this machine until the block ends.

    Gives the port that is listened on, chosen where 0 was given.  Raises OSError where that is
    taken.  Nothing of what a caller sends goes on to the server.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:
            if self.path != PATH:
                self._say(HTTPStatus.NOT_FOUND, "text/plain", b"not offered\n")
                return
            try:
                found = _asked(server_port)
            except (OSError, http.client.HTTPException):
                found = HTTPStatus.BAD_GATEWAY, "text/plain", b"the server does not answer\n"
            self._say(*found)

        def _say(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: Prometheus asks twice a minute."""

    with ThreadingHTTPServer((host, port), Handler) as relay:
        thread = Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield relay.server_address[1]
        finally:
            relay.shutdown()
            thread.join()


def _asked(port: int) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ASK_SECONDS)
    try:
        connection.request("GET", PATH)
        answer = connection.getresponse()
        return answer.status, answer.getheader("content-type", "text/plain"), answer.read()
    finally:
        connection.close()
