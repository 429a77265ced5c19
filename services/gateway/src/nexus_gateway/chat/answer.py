"""An answer as it comes from the runtime, and what we add to it: citations, usage, its log row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from nexus_api.vllm_command import GIVEN_UP
from nexus_gateway.chat.citations import cite
from nexus_gateway.chat.sse import DONE, event_of, payload_of
from nexus_knowledge.prompting.prompt import Passage

Json = dict[str, Any]


class MalformedAnswer(Exception):
    """What the runtime sent is no answer in OpenAI's form."""


class AnswerGivenUp(Exception):
    """The runtime ended an answer that is not complete: it is told to end, as a rule."""


@dataclass(frozen=True)
class Grounding:
    """What an answer stands on."""

    index: str
    passages: list[Passage]
    retrieval: Json  # mode, top_k, collection: as the client gets them


@dataclass
class Answer:
    """Collects one answer; `texts` by choice.  With a grounding, citations are added to it."""

    grounding: Grounding | None = None
    usage_wanted: bool = True
    response_id: str = ""
    answered_as: str = ""
    """The name that the runtime gave itself."""
    texts: dict[int, str] = field(default_factory=dict)
    usage: Json = field(default_factory=dict)
    done: bool = False
    failed: bool = False

    def event(self, event: bytes) -> bytes:
        """Take one event of the stream and return the bytes to send for it: none after an error."""
        payload = b"" if self.failed else payload_of(event)
        if payload == b"[DONE]":
            self.done = True
            return DONE
        if not payload:
            return b""
        try:
            chunk = orjson.loads(payload)
        except orjson.JSONDecodeError:
            chunk = None
        if not isinstance(chunk, dict):
            return event + b"\n\n"  # not ours to understand
        if "error" in chunk or "choices" not in chunk:
            self.failed = True
            return event_of({"error": _openai_error(chunk.get("error", chunk))})
        return self._chunk(event, chunk)

    def _chunk(self, event: bytes, chunk: Json) -> bytes:
        self.response_id = self.response_id or str(chunk.get("id", ""))
        self.answered_as = self.answered_as or str(chunk.get("model") or "")
        usage = chunk.get("usage")
        if usage:
            self.usage = usage
        choices = chunk["choices"]
        if not choices and usage and not self.usage_wanted:
            return b""  # we asked for it, the client did not
        if _given_up(choices):
            self.failed = True
            detail = {"message": "the model gave up the answer", "code": "stream_interrupted"}
            return event_of({"error": _openai_error(detail)})
        changed = False
        for choice in choices:
            number = choice.get("index", 0)
            delta = choice.get("delta") or {}
            text = delta.get("content") if delta else choice.get("text")
            if text:
                self.texts[number] = self.texts.get(number, "") + text
            if choice.get("finish_reason") and self.grounding:
                citations, annotations = self._citations(number)
                chunk["citations"] = citations
                chunk["retrieval"] = self.grounding.retrieval
                choice["delta"] = {**delta, "annotations": annotations}
                changed = True
        return event_of(chunk) if changed else event + b"\n\n"

    def whole(self, data: bytes) -> bytes:
        """Take a whole (not streamed) answer and return the bytes to send.

        Raises MalformedAnswer when it is not an answer in OpenAI's form, AnswerGivenUp when it
        is not complete.
        """
        try:
            answer = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise MalformedAnswer(f"it is not JSON: {error}") from None
        if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list):
            raise MalformedAnswer("it has no choices")
        if _given_up(answer["choices"]):
            raise AnswerGivenUp
        self.response_id = str(answer.get("id", ""))
        self.answered_as = str(answer.get("model") or "")
        self.usage = answer.get("usage") or {}
        self.done = True
        for choice in answer["choices"]:
            message = choice.get("message") or {}
            number = choice.get("index", 0)
            self.texts[number] = message.get("content") or choice.get("text") or ""
        if self.grounding is None:
            return data
        answer["retrieval"] = self.grounding.retrieval
        answer["citations"] = []
        for choice in answer["choices"]:
            citations, annotations = self._citations(choice.get("index", 0))
            answer["citations"] = answer["citations"] or citations
            choice["message"] = {**(choice.get("message") or {}), "annotations": annotations}
        return orjson.dumps(answer)

    def _citations(self, number: int) -> tuple[list[Json], list[Json]]:
        if self.grounding is None:
            return [], []
        text = self.texts.get(number, "")
        return cite(text, self.grounding.passages, self.grounding.index)


def _given_up(choices: list[Json]) -> bool:
    return any(choice.get("finish_reason") == GIVEN_UP for choice in choices)


def _openai_error(error: object) -> Json:
    """Return a runtime's error in mid-stream in OpenAI's form."""
    detail = error if isinstance(error, dict) else {"message": str(error)}
    code = detail.get("code")
    return {
        "message": str(detail.get("message") or "the model failed"),
        "type": str(detail.get("type") or "server_error"),
        "param": None,
        "code": code if isinstance(code, str) else "upstream_error",
    }
