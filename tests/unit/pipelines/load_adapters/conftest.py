"""A scripted vLLM: its routes for adapters, as vllm/entrypoints/openai/models/serving.py has them.

The real one is asked in tests/contract/engines/test_adapter_loading.py.
"""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from nexus_api.first_answer import CHAT


class ScriptedVllm:
    """A server `assistant` that can be told to refuse, to be ill, and to restart."""

    def __init__(self) -> None:
        self.loaded: dict[str, str] = {}
        self.refuse: dict[str, str] = {}
        """Words by adapter, for loading and unloading alike."""
        self.aside: set[str] = set()
        """What the engine has put aside: listed, and not to be forgotten."""
        self.ill = 0
        """Status of every answer, 0 for none."""
        self.calls: list[tuple[str, str]] = []
        self.asked: list[str] = []
        """Whom questions were for."""
        self.mute: dict[str, str] = {}
        """Words by adapter that cannot answer."""
        self.deaf: set[str] = set()
        """Adapters whose questions break their connection."""
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self._thread: Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        world = self

        class Handler(BaseHTTPRequestHandler):
            wbufsize = -1  # one packet: a second one would wait for the first one to be heard of

            def do_GET(self) -> None:
                base = {"id": "assistant", "object": "model", "parent": None, "root": "/m"}
                cards = [
                    {"id": name, "object": "model", "parent": "assistant", "root": folder}
                    for name, folder in world.loaded.items()
                ]
                self._say(200, {"object": "list", "data": [base, *cards]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if self.path != CHAT:
                    self._say(*world.post(self.path.rpartition("/")[2], body))
                elif body["model"] not in world.deaf:
                    self._say(*world.answer(body["model"]))

            def _say(self, status: int, told: Any) -> None:
                data = json.dumps(told).encode()
                self.send_response(world.ill or status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; what was loaded is forgotten."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        self._server, self.loaded = None, {}

    def answer(self, name: str) -> tuple[int, Any]:
        self.asked.append(name)
        if name not in self.loaded:
            return _error(404, "NotFoundError", f"The model `{name}` does not exist.")
        if name in self.mute:
            return _error(500, "InternalServerError", self.mute[name])
        choice = {"message": {"role": "assistant", "content": "Hello"}, "logprobs": None}
        return 200, {"choices": [choice], "usage": {"completion_tokens": 4}}

    def post(self, verb: str, body: dict[str, Any]) -> tuple[int, Any]:
        name = body["lora_name"]
        self.calls.append((verb, name))
        if name in self.refuse:
            return _error(500, "InternalServerError", self.refuse[name])
        if verb == "load_lora_adapter":
            if name in self.loaded and not body.get("load_inplace"):
                return _error(
                    400, "InvalidUserInput",
                    f"The lora adapter '{name}' has already been loaded. If you want to load the "
                    "adapter in place, set 'load_inplace' to True.",
                )  # fmt: skip
            self.loaded[name] = body["lora_path"]
            self.aside.discard(name)
        elif name in self.aside:
            words = f"Failed to remove lora adapter '{name}' from the engine."
            return _error(500, "InternalServerError", words)
        elif self.loaded.pop(name, None) is None:
            return _error(404, "NotFoundError", f"The lora adapter '{name}' cannot be found.")
        return 200, f"Success: LoRA adapter '{name}'."


def _error(status: int, kind: str, message: str) -> tuple[int, Any]:
    return status, {"error": {"message": message, "type": kind, "param": None, "code": status}}


@pytest.fixture
def vllm() -> Iterator[ScriptedVllm]:
    made = ScriptedVllm()
    made.start()
    yield made
    made.stop()
