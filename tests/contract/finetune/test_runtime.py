"""The runtime that an evaluation asks is the one that it started."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tiny_adapter import tiny_base

from nexus_api.release import ReleasableUnit
from nexus_pipelines.finetune.evaluate import runtime
from nexus_pipelines.finetune.evaluate.engine import Served
from nexus_pipelines.finetune.evaluate.errors import RuntimeDied


class Impostor(BaseHTTPRequestHandler):
    """Another model's server on the port that was just free: well, and ready to answer."""

    def do_GET(self) -> None:
        body = b'{"status": "ok", "data": [{"id": "unit"}]}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_another_server_on_its_port_is_never_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers would be compared as if they were the candidate's."""
    base = tiny_base(tmp_path)[1].as_uri()
    with ThreadingHTTPServer(("127.0.0.1", 0), Impostor) as server:
        listening = threading.Thread(target=server.serve_forever)
        listening.start()
        monkeypatch.setattr(runtime, "_free_ports", lambda: (server.server_port, 1))
        unit = ReleasableUnit(base=base, context_tokens=512)
        serving = runtime.serving([Served(unit)], cache=tmp_path / "cache", threads=1)
        try:
            with pytest.raises(RuntimeDied, match="cannot listen"), serving:
                pass
        finally:
            server.shutdown()
            listening.join()
