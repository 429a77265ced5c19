"""What an experiment asks of the gateway, as any client would: models, searches, answers."""

import random
import time
from collections.abc import Callable
from typing import Any

import httpx

from nexus_pipelines.errors import StepError, Transient

ANSWER_SECONDS = 300.0
_ATTEMPTS = 4
_DELAY = 0.5  # seconds; doubles, with jitter
_LONGEST_WAIT = 20.0  # seconds, whatever Retry-After says
_TOO_MUCH = frozenset({"context_length_exceeded", "query_too_long"})


class GatewayRefused(StepError):
    """The gateway refuses a request of the experiment; says why."""


class GatewayAway(Transient):
    """The gateway gave no answer in all attempts."""


class QuestionRefused(Exception):
    """A question that has no answer because it is too long."""


class Gateway:
    """The gateway's API; every call ends, or raises what is declared here."""

    def __init__(self, http: httpx.Client, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Speak through a client whose base address and credentials are set."""
        self._http, self._sleep = http, sleep

    def indexes(self) -> dict[str, str]:
        """Return the models that answer, each with its index; empty for none."""
        found = self._json("GET", "/v1/models")["data"]
        return {one["id"]: one.get("index") or "" for one in found if one.get("kind") == "chat"}

    def passages(self, index: str, question: str, asked: dict[str, Any]) -> list[str]:
        """Return the passages that a search finds, best first.

        Raises:
            QuestionRefused: the question is too long.
        """
        body = {"index": index, "query": question, **asked}
        return [str(hit["text"]) for hit in self._json("POST", "/v1/search", body)["hits"]]

    def answer(
        self, model: str, messages: list[dict[str, Any]], *, asked: dict[str, Any], max_tokens: int
    ) -> str:
        """Return the answer of a model at temperature 0.

        Raises:
            QuestionRefused: the question is too long.
        """
        body: dict[str, Any] = {
            "model": model,
            "messages": messages,
            "max_tokens": max_tokens,
            "temperature": 0,
            "seed": 0,
        }
        if asked:
            body["retrieval"] = asked
        found = self._json("POST", "/v1/chat/completions", body)
        try:
            return str(found["choices"][0]["message"]["content"] or "")
        except (KeyError, IndexError, TypeError) as error:
            raise GatewayRefused(f"{model}: its answer is not in OpenAI's form: {error}") from None

    def _json(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        problem, wait = "", 0.0
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._sleep(max(wait, _DELAY * 2**attempt * random.uniform(0.5, 1.5)))  # noqa: S311 - jitter
            wait = 0.0
            try:
                answer = self._http.request(method, path, json=body)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            if answer.is_success:
                return answer.json()
            message, code = _error(answer)
            problem = f"{answer.status_code}: {message}"
            if answer.status_code not in {408, 429} and not answer.is_server_error:
                if code in _TOO_MUCH:
                    raise QuestionRefused(message)
                raise GatewayRefused(f"the gateway refuses {method} {path}: {problem}")
            wait = _retry_after(answer)
        raise GatewayAway(
            f"the gateway did not answer {method} {path} in {_ATTEMPTS} attempts; last: {problem}"
        )


def _error(answer: httpx.Response) -> tuple[str, str]:
    try:
        error = answer.json()["error"]
        return str(error["message"]), str(error.get("code"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return answer.text[:500], ""


def _retry_after(answer: httpx.Response) -> float:
    try:
        return min(float(answer.headers.get("retry-after", "0")), _LONGEST_WAIT)
    except ValueError:
        return 0.0
