"""What is asked: the question in a list of chat messages, and the query to search with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nexus_gateway.errors import BadRequest
from nexus_knowledge.prompting.messages import Messages, Question, text_of

MODES = ("dense", "bm25", "hybrid")
MAX_TOP_K = 100


@dataclass(frozen=True)
class Asked:
    """How to search, as the request says; None leaves it to the resource."""

    mode: str | None = None
    top_k: int | None = None


def messages_of(body: dict[str, Any]) -> Messages:
    """Return the request's messages.  Raises BadRequest naming what is wrong."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must be a list with at least one message", param="messages")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            where = f"messages[{number}]"
            raise BadRequest(f"{where} must be an object with a role", param=where)
    return messages


def question_of(messages: Messages) -> Question:
    """Find the question.  Raises BadRequest when there is none or it is empty."""
    asked = [n for n, message in enumerate(messages) if message["role"] == "user"]
    if not asked:
        raise BadRequest("messages hold no user message, so nothing is asked", param="messages")
    last = asked[-1]
    text = text_of(messages[last]).strip()
    if not text:
        raise BadRequest(
            "the question is empty: the last user message has no text",
            param=f"messages[{last}].content",
            code="empty_question",
        )
    instructions = [text_of(m).strip() for m in messages if m["role"] in {"system", "developer"}]
    return Question(
        text=text,
        instructions="\n".join(filter(None, instructions)),
        before=[m for m in messages[:last] if m["role"] not in {"system", "developer"}],
        message=messages[last],
        after=[m for m in messages[last + 1 :] if m["role"] not in {"system", "developer"}],
    )


def asked_of(body: dict[str, Any]) -> Asked:
    """Read the request's `retrieval`.  Raises BadRequest naming the field."""
    wanted = body.get("retrieval")
    if wanted is None:
        return Asked()
    if not isinstance(wanted, dict):
        raise BadRequest("retrieval must be an object {mode, top_k}", param="retrieval")
    top_k = wanted.get("top_k")
    return Asked(check_mode(wanted.get("mode"), "retrieval.mode"), check_top_k(top_k))


def check_mode(mode: object, param: str) -> str | None:
    """Return a retrieval mode, None when it is not given.  Raises BadRequest."""
    if mode is None:
        return None
    if mode == "tfidf":
        raise BadRequest("tfidf is not offered yet, use bm25", param=param, code="not_offered")
    if not isinstance(mode, str) or mode not in MODES:
        raise BadRequest(f"{param} must be one of {', '.join(MODES)}", param=param)
    return mode


def check_top_k(top_k: object, param: str = "retrieval.top_k") -> int | None:
    """Return a number of passages, None when it is not given.  Raises BadRequest."""
    if top_k is None:
        return None
    if isinstance(top_k, bool) or not isinstance(top_k, int) or not 1 <= top_k <= MAX_TOP_K:
        raise BadRequest(f"{param} must be a whole number from 1 to {MAX_TOP_K}", param=param)
    return top_k
