"""The question among chat messages in OpenAI's form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

Messages = list[dict[str, Any]]

FOLLOW_UP_WORDS = 5
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
