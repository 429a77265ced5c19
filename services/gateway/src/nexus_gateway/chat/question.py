"""What is asked: the question in a list of chat messages, and the query to search with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from nexus_gateway.errors import BadRequest

Messages = list[dict[str, Any]]

MODES = ("dense", "bm25", "hybrid")
FOLLOW_UP_WORDS = 5
MAX_TOP_K = 100
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Question:
    """The last user message among the messages around it."""

    text: str
    instructions: str
    before: Messages
    message: dict[str, Any]
    after: Messages

    @property
    def query(self) -> str:
        """The text to search with.

        A follow-up of a few words ("and how often?") says too little by itself: the question
        before goes with it.
        """
        if len(_WORD.findall(self.text)) >= FOLLOW_UP_WORDS:
            return self.text
        earlier = [text_of(m) for m in self.before if m.get("role") == "user"]
        return f"{earlier[-1].strip()}\n{self.text}" if earlier else self.text


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


def text_of(message: dict[str, Any]) -> str:
    """Return a message's text: its content, or the text parts of it."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [p.get("text") for p in content if isinstance(p, dict) and p.get("type") == "text"]
    return "\n".join(part for part in parts if isinstance(part, str))


def with_text(message: dict[str, Any], text: str) -> dict[str, Any]:
    """Return the message with other text; parts that are not text are kept."""
    content = message.get("content")
    if not isinstance(content, list):
        return {**message, "content": text}
    others = [p for p in content if not (isinstance(p, dict) and p.get("type") == "text")]
    return {**message, "content": [*others, {"type": "text", "text": text}] if others else text}


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
