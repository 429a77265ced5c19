"""Answers that need no model: when no passage is relevant, the gateway says so itself."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

from nexus_gateway.chat.sse import DONE, event_of

Json = dict[str, Any]


def new_id() -> str:
    """Return a response id in the form that runtimes use."""
    return f"chatcmpl-{uuid4().hex}"


def completion(response_id: str, model: str, text: str, extra: Json) -> Json:
    """Return a whole chat completion that says `text`; `extra` stands beside it."""
    return {
        "id": response_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "annotations": []},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        **extra,
    }


def stream(response_id: str, model: str, text: str, extra: Json, *, usage: bool) -> bytes:
    """Return the same as a whole stream of events, with `usage` as its last chunk on request."""
    head = {
        "id": response_id,
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
    }

    def chunk(delta: Json, reason: str | None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return event_of({**head, "choices": [choice], **more})

    parts = [
        chunk({"role": "assistant", "content": text}, None),
        chunk({"annotations": []}, "stop", **extra),
    ]
    if usage:
        counts = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        parts.append(event_of({**head, "choices": [], "usage": counts}))
    return b"".join([*parts, DONE])
