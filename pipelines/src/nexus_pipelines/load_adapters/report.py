"""What the pod tells of itself over HTTP: the kubelet's probe, and the operator's question."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from nexus_api.adapter_loading import READY_PATH, REPORT_PATH
from nexus_pipelines.load_adapters.loader import Loader


@contextmanager
def answering(loader: Loader, host: str, port: int) -> Iterator[int]:
    """Answer for `loader` until the block ends; the port, chosen where 0 was given."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:
            if self.path == REPORT_PATH:
                self._say(HTTPStatus.OK, "application/json", loader.report().model_dump_json())
            elif self.path == READY_PATH:
                status = HTTPStatus.OK if loader.ready else HTTPStatus.SERVICE_UNAVAILABLE
                self._say(status, "text/plain", "ready\n" if loader.ready else "not ready\n")
            else:
                self._say(HTTPStatus.NOT_FOUND, "text/plain", "not offered\n")

        def _say(self, status: HTTPStatus, kind: str, text: str) -> None:
            data = text.encode()
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing: the kubelet asks every few seconds."""

    with ThreadingHTTPServer((host, port), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
