"""A judge of fixed opinions: an HTTP server that speaks /v1/chat/completions.

It reads ragas' prompts as a model would, from their last JSON object, and answers from a script:
which statements an answer makes, which of them a passage supports, which passages are useful.  So
the score of every answer is known beforehand.

As a program, `python scripted_judge.py PORT`, it judges all comers by `two_of_three`, but for
questions with RIDDLE in them; it needs nothing but the standard library.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any, NamedTuple

_INPUT = "Now perform the same with the following input\ninput: "
_OUTPUT = "\nOutput:"
RIDDLE = "riddle"
_DOWN = 3  # times: as often as a step asks before it gives up


class Reply(NamedTuple):
    """What the server sends; code 0 closes the connection without a word, -1 never answers."""

    code: int
    body: str


Asked = dict[str, Any]
"""What ragas asks: question and answer; context and statements; question, context and answer;
user_input and response."""
Fault = Callable[[int, Asked], Reply | None]
"""Replies otherwise, or None, to the n-th time (from 0) that the very same is asked."""


def chat(content: str, **choice: str) -> Reply:
    """Make an answer in OpenAI's form."""
    message = {"role": "assistant", "content": content}
    told = {"choices": [{"index": 0, "finish_reason": "stop", "message": message, **choice}]}
    return Reply(200, json.dumps(told))


@dataclass
class Opinions:
    """What the judge believes.

    statements: by answer, what it states and whether the passages support it.
    useful: by passage, whether it serves the reference.
    grades: by answer, from 1 to 5, whatever it is graded for.
    """

    statements: dict[str, list[tuple[str, bool]]] = field(default_factory=dict)
    useful: dict[str, bool] = field(default_factory=dict)
    grades: dict[str, int] = field(default_factory=dict)

    def answer(self, asked: Asked) -> str:
        """Answer as the model would that ragas hopes for."""
        if "statements" in asked:
            known = dict(pair for pairs in self.statements.values() for pair in pairs)
            verdicts = [
                {"statement": one, "reason": "scripted", "verdict": int(known[one])}
                for one in asked["statements"]
            ]
            return json.dumps({"statements": verdicts})
        if "context" in asked:
            useful = self.useful[asked["context"]]
            return json.dumps({"reason": "scripted", "verdict": int(useful)})
        if "response" in asked:
            return json.dumps({"feedback": "scripted", "score": self.grades[asked["response"]]})
        return json.dumps({"statements": [text for text, _ in self.statements[asked["answer"]]]})


def two_of_three(_: int, asked: Asked) -> Reply:
    """Find three statements in whatever is said, two of them true, and every passage useful.

    Every form gets a grade of 4.
    """
    if "statements" in asked:
        told = [{"statement": "?", "reason": "?", "verdict": one} for one in (1, 0, 1)]
        return chat(json.dumps({"statements": told}))
    if "context" in asked:
        return chat(json.dumps({"reason": "?", "verdict": 1}))
    if "response" in asked:
        return chat(json.dumps({"feedback": "?", "score": 4}))
    return chat(json.dumps({"statements": ["one", "two", "three"]}))


def at_a_loss(before: int, asked: Asked) -> Reply:
    """Judge as `two_of_three`; about a riddle, be down for the first try of a step, then babble."""
    if RIDDLE not in asked.get("question", ""):
        return two_of_three(before, asked)
    return Reply(0, "") if before < _DOWN else chat("Why, of course!")


@dataclass
class ScriptedJudge:
    """A server that answers, and remembers what it was asked."""

    url: str
    opinions: Opinions
    fault: Fault | None = None
    asked: list[Asked] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    closing: Event = field(default_factory=Event)
    _lock: Lock = field(default_factory=Lock)

    def reply(self, body: dict[str, Any], headers: dict[str, str]) -> Reply:
        """Answer one request."""
        prompt = body["messages"][0]["content"]
        start = prompt.rindex(_INPUT) + len(_INPUT)
        asked = json.loads(prompt[start : prompt.rindex(_OUTPUT)])
        with self._lock:
            before = self.asked.count(asked)
            self.asked.append(asked)
            self.bodies.append(body)
            self.headers.append(headers)
        found = self.fault(before, asked) if self.fault else None
        return found or chat(self.opinions.answer(asked))


@contextmanager
def scripted_judge(
    opinions: Opinions, fault: Fault | None = None, address: tuple[str, int] = ("127.0.0.1", 0)
) -> Iterator[ScriptedJudge]:
    """Serve a judge until the block ends, on a free port of loopback unless told otherwise."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(length))
            if self.path != "/v1/chat/completions":
                self._send(Reply(404, "no such path"))
                return
            reply = judge.reply(body, dict(self.headers.items()))
            if reply.code < 0:
                judge.closing.wait()
            if reply.code <= 0:
                self.close_connection = True
                return
            self._send(reply)

        def _send(self, reply: Reply) -> None:
            content = reply.body.encode()
            self.send_response(reply.code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(address, Handler)
    server.daemon_threads = True
    judge = ScriptedJudge(f"http://127.0.0.1:{server.server_port}/v1", opinions, fault)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield judge
    finally:
        judge.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    with scripted_judge(Opinions(), at_a_loss, ("", int(sys.argv[1]))) as everlasting:
        everlasting.closing.wait()
