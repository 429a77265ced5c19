"""A row of a JSON Lines file as a training example, or the reason why it is none.  Pure."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from nexus_pipelines.finetune.select.examples import (
    LANGUAGE,
    LONGEST_DOCUMENT,
    MOST_PASSAGES,
    Example,
    Malformed,
    Message,
    Origin,
    Source,
    asked_with,
    utc_text,
)
from nexus_pipelines.finetune.select.prompts import Asking, Passage, taken_apart

LONGEST_LINE = 4 << 20  # bytes; a longer line is no example of ours
_TOPIC_CHARACTERS = 128
_ROLES = ("user", "assistant")


class GoldenRow(ValueError):
    """A row is of a golden set: its file must not be learnt from."""


def parse_row(line: bytes, source: Source, origin: Origin, asking: Asking) -> Example:
    """Read one line of a JSON Lines file.

    Forms: `{"messages"}`, `{"prompt", "completion"}`, `{"question", "answer"[, "context"]}`; each
    with `document`, `createdAt`, `language` and `topic` where known.  Other fields are ignored.

    Raises:
        Malformed: it is none of them; says what is wrong.
        GoldenRow: it is a row of a golden set.
    """
    row = _object(line)
    if "goldenSet" in row or {"question", "references"} <= row.keys():
        raise GoldenRow(f"{origin} is of a golden set")
    messages, question, passages = _conversation(row, asking)
    return Example(
        messages=messages,
        source=source,
        origin=origin,
        composed="messages" not in row,
        question=question,
        passages=passages,
        document=_short(row, "document", LONGEST_DOCUMENT),
        created_at=_when(row),
        language=_language(row),
        topic=_short(row, "topic", _TOPIC_CHARACTERS),
    )


def _object(line: bytes) -> dict[str, Any]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("NotUtf8", f"byte {error.start} is not UTF-8") from error
    try:
        row = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise Malformed("NotJson", f"not JSON: {error}") from error
    if not isinstance(row, dict):
        raise Malformed("NotAnObject", f"a JSON object is needed, not {type(row).__name__}")
    return row


def _conversation(
    row: Mapping[str, Any], asking: Asking
) -> tuple[tuple[Message, ...], str, tuple[Passage, ...]]:
    """Return messages, question and passages of a row of any of the three forms."""
    if "messages" in row:
        messages = _messages(row["messages"])
        document = _short(row, "document", LONGEST_DOCUMENT)
        return messages, *taken_apart(messages[-2].content, document)
    if {"prompt", "completion"} <= row.keys():
        question, answer = _text(row, "prompt"), _text(row, "completion")
        return asked_with(question, (), answer, asking), question, ()
    if {"question", "answer"} <= row.keys():
        question, answer = _text(row, "question"), _text(row, "answer")
        passages = _passages(row.get("context"), _short(row, "document", LONGEST_DOCUMENT))
        return asked_with(question, passages, answer, asking), question, passages
    raise Malformed(
        "UnknownForm",
        'needs "messages", or "prompt" and "completion", or "question" and "answer"; '
        f"it has {sorted(map(str, row))[:8]}",
    )


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise Malformed("BadMessages", "messages must be a list of objects")
    found: list[Message] = []
    for number, one in enumerate(value):
        role = one.get("role")
        if role == "system" and number == 0:
            found.append(Message("system", _text(one, "content")))
            continue
        wanted = _ROLES[(number - (found[:1] != [] and found[0].role == "system")) % 2]
        if role != wanted:
            raise Malformed("BadMessages", f"message {number + 1} has role {role!r}, not {wanted}")
        found.append(Message(role, _text(one, "content")))
    if not found or found[-1].role != "assistant":
        raise Malformed("BadMessages", "the last message must be the assistant's: it is learnt")
    return tuple(found)


def _passages(value: Any, document: str) -> tuple[Passage, ...]:
    """Read `context`: a text, a list of texts, or a list of `{"document", "text"}`."""
    if value is None or value in ("", []):
        return ()
    passages = []
    given = value if isinstance(value, list) else [value]
    if len(given) > MOST_PASSAGES:
        raise Malformed("BadField", f"context has {len(given)} passages, more than {MOST_PASSAGES}")
    for one in given:
        if isinstance(one, str):
            passages.append(Passage(document, _text({"context": one}, "context")))
        elif isinstance(one, dict):
            place = _short(one, "document", LONGEST_DOCUMENT) or document
            passages.append(Passage(place, _text(one, "text")))
        else:
            raise Malformed("BadField", "context must be text, or a list of texts or passages")
    return tuple(passages)


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise Malformed("BadField", f"{name} must be text")
    if not value.strip():
        raise Malformed("EmptyText", f"{name} is empty")
    _check_unicode(name, value)
    return value.strip()


def _short(row: Mapping[str, Any], name: str, longest: int) -> str:
    """Read an optional text; null counts as left out."""
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > longest:
        raise Malformed("BadField", f"{name} must be text of at most {longest} characters")
    _check_unicode(name, value)
    return value.strip()


def _language(row: Mapping[str, Any]) -> str:
    """Read the language; what is no tag is as good as none, and is told from the text."""
    said = _short(row, "language", 35)
    return said if LANGUAGE.fullmatch(said) else ""


def _check_unicode(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Malformed("BadUnicode", f"{name} holds half a surrogate pair") from error


def _when(row: Mapping[str, Any]) -> str:
    value = row.get("createdAt")
    if value is None or value == "":
        return ""
    try:
        return utc_text(datetime.fromisoformat(value))
    except (TypeError, ValueError, OverflowError) as error:
        raise Malformed("BadField", "createdAt must be a time such as 2026-05-01T08:00:00Z") from (
            error
        )
