"""OpenAI's events and answers, written from a plain flow of texts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import orjson

from nexus_gateway.chat.sse import DONE, event_of
from nexus_gateway.engines.base import Json


class StopCutter:
    """Lets text through up to the first stop text, wherever the pieces of it are cut.

    A backend may know `stop` or not: the contract holds either way.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """Return what may be shown now; a beginning of a stop text is held back."""
        text, self._held = self._held + text, ""
        ends = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            self.stopped = True
            return text[: min(ends)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def rest(self) -> str:
        """Return what was held back, at the end of the flow."""
        text, self._held = self._held, ""
        return text


def _overlap(text: str, stop: str) -> int:
    """Return how many of the text's last characters begin the stop text."""
    return next(
        (
            size
            for size in range(min(len(stop) - 1, len(text)), 0, -1)
            if stop[:size] == text[-size:]
        ),
        0,
    )


@dataclass
class Writer:
    """Writes one answer of one choice, streamed or whole."""

    model: str
    chat: bool
    id: str = ""
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self.id = self.id or f"{'chatcmpl' if self.chat else 'cmpl'}-{uuid4().hex}"

    def opening(self) -> bytes:
        """Return the event that a chat begins with."""
        return self._event({"role": "assistant", "content": ""}, None) if self.chat else b""

    def text(self, text: str) -> bytes:
        """Return the event that carries a piece of text."""
        return self._event({"content": text}, None, text)

    def ending(self, reason: str, usage: Json | None) -> bytes:
        """Return the last events: why it ended, the usage when asked for, [DONE]."""
        last = self._event({}, reason)
        if usage is not None:
            last += event_of({**self._head("chunk"), "choices": [], "usage": usage})
        return last + DONE

    def whole(self, text: str, reason: str, usage: Json) -> bytes:
        """Return the answer in one piece."""
        choice: Json = {"index": 0, "logprobs": None, "finish_reason": reason}
        if self.chat:
            choice["message"] = {"role": "assistant", "content": text}
        else:
            choice["text"] = text
        return orjson.dumps({**self._head(""), "choices": [choice], "usage": usage})

    def _event(self, delta: Json, reason: str | None, text: str = "") -> bytes:
        choice: Json = {"index": 0, "logprobs": None, "finish_reason": reason}
        choice.update({"delta": delta} if self.chat else {"text": text})
        return event_of({**self._head("chunk"), "choices": [choice]})

    def _head(self, form: str) -> Json:
        kind = "text_completion"
        if self.chat:
            kind = "chat.completion.chunk" if form else "chat.completion"
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def usage_of(prompt: int, completion: int) -> Json:
    """Return token counts in OpenAI's form."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
