"""The first question against a scripted server; the real ones answer it in their own tests."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ports import free_port

from nexus_api.first_answer import (
    CHAT,
    COMPLETIONS,
    OPENAI,
    QUESTION,
    TRIES,
    TRITON,
    fault,
    fault_of,
    final_fault,
    poster,
    probe_command,
    triton_fault,
)

Reply = tuple[int, Any]


def answer(text: str = "Hello", logprob: float | None = -0.5, **message: Any) -> Reply:
    tokens: list[dict[str, Any]] = (
        [{"token": text, "logprob": logprob, "top_logprobs": []}] if text else []
    )
    choice = {"message": {"content": text, **message}, "logprobs": {"content": tokens}}
    return 200, {"choices": [choice], "usage": {"completion_tokens": 4}}


def error(status: int, words: str) -> Reply:
    return status, {"error": {"message": words}}


COMPLETION = (
    200,
    {
        "choices": [{"text": " Hi", "logprobs": {"tokens": [" Hi"], "token_logprobs": [-1.0]}}],
        "usage": {"completion_tokens": 1},
    },
)


class Scripted:
    """Gives its replies in turn, the last one again and again; None hangs until the end."""

    def __init__(self) -> None:
        self.replies: list[Reply | None] = [answer()]
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.over = Event()
        world = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say(200, "ok")

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                world.asked.append((self.path, body))
                replies = world.replies
                reply = replies.pop(0) if len(replies) > 1 else replies[0]
                if reply is None:
                    world.over.wait(60)
                else:
                    self._say(*reply)

            def _say(self, status: int, told: Any) -> None:
                data = (told if isinstance(told, str) else json.dumps(told)).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Scripted]:
    made = Scripted()
    yield made
    made.stop()


def found(server: Scripted, *replies: Reply | None, seconds: float = 30) -> str:
    server.replies = list(replies)
    post = poster("127.0.0.1", server.port, seconds)
    return final_fault(lambda: fault(post, "m", {"lora": []}), pause=0)


def test_a_short_answer_at_temperature_nothing_is_enough(server: Scripted) -> None:
    assert found(server, answer()) == ""
    ((path, body),) = server.asked
    assert path == CHAT
    assert body["messages"] == [{"role": "user", "content": QUESTION}]
    assert (body["model"], body["temperature"], body["lora"]) == ("m", 0, [])
    assert body["max_tokens"] < 10


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (answer(""), "empty"),
        ((200, {**answer()[1], "usage": {"completion_tokens": 0}}), "empty"),
        (answer("!", None), "no numbers"),
        (answer("!", math.nan), "no numbers"),
        (error(500, "the engine\ndied"), "HTTP 500: the engine died"),
        ((200, "<html>"), "this is no answer: <html>"),
        ((200, {"choices": []}), "this is no answer"),
        (error(400, "the template: 'x' is undefined"), "HTTP 400: the template"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(server: Scripted, reply: Reply, words: str) -> None:
    assert words in found(server, reply)
    assert len(server.asked) == TRIES


def test_a_model_that_thinks_first_has_answered(server: Scripted) -> None:
    assert found(server, answer("", reasoning_content="Well,")) == ""


def test_one_bad_answer_is_not_the_last_word(server: Scripted) -> None:
    assert found(server, error(500, "once"), answer()) == ""
    assert len(server.asked) == 2


def test_a_server_that_hangs_is_not_asked_again(server: Scripted) -> None:
    assert "no answer came: timed out" in found(server, None, seconds=0.2)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "words",
    [
        "As of transformers v4.44, default chat template is no longer allowed, so you must ...",
        "This model's maximum context length is 16 tokens. However, you requested 40 tokens",
    ],
)
def test_a_model_without_a_chat_goes_on_with_a_text(server: Scripted, words: str) -> None:
    assert found(server, error(400, words), COMPLETION) == ""
    assert [path for path, _ in server.asked] == [CHAT, COMPLETIONS]
    assert server.asked[1][1]["prompt"] == QUESTION


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["choices", "usage", "message", "logprobs", "content", "error"]), inner
        )
    ),
)


@given(status=st.sampled_from([200, 400, 500]), told=JSON)
def test_whatever_comes_is_judged_and_none_of_it_is_an_answer(status: int, told: Any) -> None:
    assert fault_of(status, told)
    assert fault(lambda *_: (status, told), "m")


def run(port: int, folder: Path, kind: str = OPENAI, *adapters: str) -> tuple[int, str, int | None]:
    """Run the probe as a pod does; give its code, the last words, and how the server ended."""
    last_words = folder / "termination-log"
    last_words.touch()
    with subprocess.Popen(["sleep", "300"]) as serving:
        try:
            _, *command = probe_command(kind, port, "assistant", adapters)
            told = {"1": str(serving.pid), "/dev/termination-log": str(last_words)}
            command = [told.get(word, word) for word in command]
            probe = subprocess.run([sys.executable, *command], timeout=60, check=False)
            if probe.returncode and last_words.read_text():
                serving.wait(60)
            return probe.returncode, last_words.read_text(), serving.poll()
        finally:
            serving.kill()


def test_the_probe_waits_for_a_server_that_does_not_listen_yet(tmp_path: Path) -> None:
    assert run(free_port(), tmp_path) == (1, "", None)


def test_the_probe_succeeds_once_there_is_an_answer(server: Scripted, tmp_path: Path) -> None:
    assert run(server.port, tmp_path) == (0, "", None)


def test_the_probe_ends_a_server_that_cannot_answer(server: Scripted, tmp_path: Path) -> None:
    server.replies = [error(500, "EngineCore encountered an issue")]
    code, words, ended = run(server.port, tmp_path)
    assert (code, ended) == (1, -15)
    assert words == (
        "assistant: the first question was not answered: HTTP 500: EngineCore encountered an issue"
    )


def events(*pieces: object) -> Reply:
    return 200, "".join(f"data: {json.dumps(piece)}\n\n" for piece in pieces)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (events({"text_output": "Hel"}, {"text_output": "lo"}, {"text_output": ""}), ""),
        ((200, 'data: {"text_output": "a\u2028b"}\r\n\r\n'), ""),  # no line ends there
        (events({"text_output": ""}), "empty"),
        (events(), "empty"),
        (events({"error": "LoRA pirate is not supported"}), "LoRA pirate is not supported"),
        ((400, {"error": "no such model"}), "HTTP 400: no such model"),
        (events(3), "this is no answer"),
        ((200, {"text_output": "Hello"}), "this is no answer"),
    ],
)
def test_what_triton_says_is_judged_as_well(reply: Reply, words: str) -> None:
    found = triton_fault(lambda *_: reply, "m", "pirate")
    assert words in found
    assert bool(found) == bool(words)


def test_the_probe_asks_triton_for_each_adapter(server: Scripted, tmp_path: Path) -> None:
    hello, no = events({"text_output": "Hello"}), events({"error": "incomplete metadata"})
    server.replies = [hello]
    assert run(server.port, tmp_path, TRITON, "pirate") == (0, "", None)
    by = [json.loads(body["sampling_parameters"]).get("lora_name") for _, body in server.asked]
    assert by == [None, "pirate"]
    server.replies = [hello, no]
    _, words, ended = run(server.port, tmp_path, TRITON, "pirate")
    assert words == ("assistant:pirate: the first question was not answered: incomplete metadata")
    assert ended == -15
