"""The question that a server answers before anybody else may ask it: one that loads may yet fail.

Python's own library is all that this needs, for pods of vLLM and Triton run this very text.
"""

import http.client
import inspect
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
OPENAI, TRITON = "openai", "triton"
_HEALTH = {OPENAI: "/health", TRITON: "/v2/health/ready"}
QUESTION = "Say hello."
TOKENS = 4
ANSWER_SECONDS = 300.0
"""The first answer of a server may wait for what it compiles."""

TRIES = 3
PAUSE_SECONDS = 1.0
_MOST_WORDS = 200
_NO_CHAT = ("chat template is no longer allowed", "maximum context length")
"""What vLLM says where a model has no chat template, or one that leaves a question no room."""

Post = Callable[[str, dict[str, Any]], tuple[int, Any]]
"""Sends JSON to a path; gives the status, and what came: read as JSON where it is that."""


def fault(post: Post, model: str, extra: Mapping[str, Any] | None = None) -> str:
    """Ask `model` for a few tokens; return what is wrong with the answer, "" when nothing is.

    extra: what else the question says to this server.  `post` may raise what it likes.
    """
    body = {"model": model, "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
    body.update(extra or {})
    messages = [{"role": "user", "content": QUESTION}]
    chat = {**body, "messages": messages, "logprobs": True, "top_logprobs": 1}
    status, told = post(CHAT, chat)
    if status == http.client.BAD_REQUEST and any(said in _words(told) for said in _NO_CHAT):
        status, told = post(COMPLETIONS, {**body, "prompt": QUESTION, "logprobs": 1})
    return fault_of(status, told)


def fault_of(status: int, told: Any) -> str:
    """Return what is wrong with an answer of OpenAI's form, "" when nothing is."""
    if status != http.client.OK:
        return f"HTTP {status}: {_words(told)[:_MOST_WORDS]}"
    try:
        (choice,) = told["choices"]
        count = told["usage"]["completion_tokens"]
        said = choice.get("message") or choice
        tokens, numbers = _tokens(choice.get("logprobs") or {})
        texts = [said.get(key) for key in ("content", "text", "reasoning", "reasoning_content")]
        if not (isinstance(count, int) and count > 0 and any((*texts, *tokens))):
            return "the answer is empty"
        # JSON has no word for what damaged weights compute: it is null, or Python's NaN.
        if not all(isinstance(one, int | float) and math.isfinite(one) for one in numbers):
            return "the model computes no numbers: its weights are damaged"
    except (KeyError, TypeError, ValueError, AttributeError):
        return f"this is no answer: {_words(told)[:_MOST_WORDS]}"
    return ""


def poster(host: str, port: int, seconds: float = ANSWER_SECONDS) -> Post:
    """Return what posts to a server; it raises OSError and HTTPException."""
    return lambda path, body: exchange(host, port, "POST", path, body, seconds)


def exchange(
    host: str, port: int, method: str, path: str, body: object, seconds: float
) -> tuple[int, Any]:
    """Send JSON, nothing for None; return the status, and what came: read as JSON where it is that.

    Raises OSError (a TimeoutError after `seconds` of silence) and HTTPException.
    """
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    finally:
        connection.close()
    try:
        return answer.status, json.loads(text)
    except ValueError:
        return answer.status, text


def triton_fault(post: Post, model: str, adapter: str = "") -> str:
    """Ask a model of Triton's vLLM backend for a few tokens, by an adapter where one is named.

    Returns what is wrong with the answer, "" when nothing is; probabilities are not told.
    """
    sampling = {"max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
    named = {"lora_name": adapter} if adapter else {}
    body = {
        "text_input": QUESTION,
        "stream": True,
        "exclude_input_in_output": True,
        "sampling_parameters": json.dumps({**sampling, **named}),
    }
    status, told = post(f"/v2/models/{model}/generate_stream", body)
    if status != http.client.OK:
        return f"HTTP {status}: {_words(told)[:_MOST_WORDS]}"
    try:
        lines = [line[5:] for line in told.split("\n") if line.startswith("data:")]
        pieces = [json.loads(line) for line in lines]
        errors = [str(piece["error"]) for piece in pieces if "error" in piece]
        if errors:
            return errors[0][:_MOST_WORDS]
        return "" if any(piece["text_output"] for piece in pieces) else "the answer is empty"
    except (KeyError, TypeError, ValueError, AttributeError):
        return f"this is no answer: {_words(told)[:_MOST_WORDS]}"


def final_fault(ask: Callable[[], str], pause: float = PAUSE_SECONDS) -> str:
    """Return what was wrong each time that was asked, "" as soon as nothing was.

    ask: returns a fault, and may raise OSError and HTTPException.  pause: in seconds.
    """
    found = ""
    for again in range(TRIES):
        if again:
            time.sleep(pause)
        try:
            found = ask()
        except (OSError, http.client.HTTPException) as error:
            found = f"no answer came: {error or type(error).__name__}"
            if isinstance(error, TimeoutError):
                break  # it hangs; two more such times would help nobody
        if not found:
            break
    return found


def probe(
    kind: str, port: int, server: int, last_words: str, model: str, adapters: Sequence[str] = ()
) -> int:
    """Be the startup probe of a server on loopback: 0 once it has answered, 1 while it starts.

    A server that cannot answer is told to end, so that it is started again; why stands in the file
    `last_words`, for the pod's status.  kind: OPENAI or TRITON.  server: its process.  adapters:
    those that Triton has from its start.
    """
    try:
        status, _ = exchange("127.0.0.1", port, "GET", _HEALTH[kind], None, 5)
    except (OSError, http.client.HTTPException):
        return 1
    if status != http.client.OK:
        return 1
    post = poster("127.0.0.1", port)
    for adapter in ("", *adapters):
        whose = f"{model}:{adapter}" if adapter else model
        ask = partial(fault, post, model)
        if kind == TRITON:
            ask = partial(triton_fault, post, model, adapter)
        found = final_fault(ask)
        if found:
            words = f"{whose}: the first question was not answered: {found}"
            sys.stderr.write(f"{words}\n")
            with open(last_words, "w", encoding="utf-8") as file:  # noqa: PTH123 - few imports
                file.write(words)
            os.kill(server, signal.SIGTERM)
            return 1
    return 0


def probe_command(kind: str, port: int, model: str, adapters: Sequence[str] = ()) -> list[str]:
    """Return the command of `probe` in a container whose first process is the server."""
    told = [kind, str(port), "1", "/dev/termination-log", model, *adapters]
    return ["python3", "-c", inspect.getsource(sys.modules[__name__]), *told]


def _tokens(logprobs: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Return the tokens and their logarithms, of a chat or of a completion."""
    entries = logprobs.get("content")
    if entries is None:
        return logprobs.get("tokens") or [], logprobs.get("token_logprobs") or []
    return [one["token"] for one in entries], [one["logprob"] for one in entries]


def _words(told: Any) -> str:
    error = told.get("error", told) if isinstance(told, dict) else told
    said = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(said).split())


if __name__ == "__main__":
    _kind, _port, _server, _file, _model, *_adapters = sys.argv[1:]
    sys.exit(probe(_kind, int(_port), int(_server), _file, _model, _adapters))
