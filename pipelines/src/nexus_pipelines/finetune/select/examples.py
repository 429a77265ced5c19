"""Training examples: what they are, and how a row of a JSON Lines file becomes one.  Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from nexus_knowledge.errors import QuestionTooLong
from nexus_pipelines.finetune.select.prompts import Asking, Passage, prompt, taken_apart
from nexus_pipelines.finetune.store import compact

LONGEST_LINE = 4 << 20  # bytes; a longer line is no example of ours
_DOCUMENT_CHARACTERS = 1024
_TOPIC_CHARACTERS = 128
_ROLES = ("user", "assistant")


class Source(StrEnum):
    """Where an example is from; the order is the one in which a conflict is decided."""

    CURATED = "curated"
    FEEDBACK = "feedback"
    FILES = "files"
    OLDER = "older"  # what an earlier run learnt from


class Message(NamedTuple):
    """One message of a conversation."""

    role: str  # system, user or assistant
    content: str


class Origin(NamedTuple):
    """What an example was read from, so that what was deleted there does not come back.

    `kind` is `object` (key, etag, line of a bucket's object) or `response` (key: its id).
    """

    kind: Literal["object", "response"]
    key: str
    etag: str = ""
    line: int = 0

    def __str__(self) -> str:
        """Write it as messages do."""
        return f"{self.key}, line {self.line}" if self.kind == "object" else f"response {self.key}"


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation whose last message, the assistant's, is learnt."""

    messages: tuple[Message, ...]
    source: Source
    origin: Origin
    question: str  # the last question, without passages
    passages: tuple[Passage, ...] = ()
    document: str = ""
    created_at: str = ""  # RFC 3339 in UTC; empty when unknown
    corrected: bool = False  # a person wrote the answer in place of a wrong one
    composed: bool = True  # the messages follow from question, passages and answer
    language: str = ""
    topic: str = ""
    redacted: tuple[str, ...] = field(default=(), compare=False)

    @property
    def answer(self) -> str:
        """What is learnt."""
        return self.messages[-1].content

    @property
    def id(self) -> str:
        """Name the content: the same conversation has the same id in every run."""
        conversation = [[message.role, message.content] for message in self.messages]
        return hashlib.sha256(compact(conversation).encode()).hexdigest()[:20]

    @property
    def places(self) -> frozenset[str]:
        """What the question is about, where it is asked with passages: their documents."""
        return frozenset(one.document or one.text for one in self.passages)

    @property
    def group(self) -> str:
        """What is held out as a whole: the source document, else the example alone."""
        return self.document or self.id


class Rejected(NamedTuple):
    """A row that is not used, and why."""

    file: str
    line: int
    reason: str  # one CamelCase word
    message: str


class Malformed(ValueError):
    """A row is no example; `reason` is one CamelCase word."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


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
        document=_short(row, "document", _DOCUMENT_CHARACTERS),
        created_at=_when(row),
        language=_short(row, "language", 35),
        topic=_short(row, "topic", _TOPIC_CHARACTERS),
    )


def to_row(example: Example) -> dict[str, Any]:
    """Write an example as the steps after read it."""
    return {
        "id": example.id,
        "messages": [message._asdict() for message in example.messages],
        "source": example.source.value,
        "document": example.document,
        "createdAt": example.created_at,
        "language": example.language,
        "topic": example.topic,
        "question": example.question,
        "contexts": [passage._asdict() for passage in example.passages],
        "corrected": example.corrected,
        "composed": example.composed,
        "origin": example.origin._asdict(),
    }


def from_row(row: Mapping[str, Any]) -> Example:
    """Read what `to_row` wrote; raises KeyError, TypeError or ValueError for anything else."""
    return Example(
        messages=tuple(Message(one["role"], one["content"]) for one in row["messages"]),
        source=Source(row["source"]),
        origin=Origin(**row["origin"]),
        question=row["question"],
        passages=tuple(Passage(**one) for one in row["contexts"]),
        document=row["document"],
        created_at=row["createdAt"],
        corrected=row["corrected"],
        composed=row["composed"],
        language=row["language"],
        topic=row["topic"],
    )


def asked_with(
    question: str, passages: tuple[Passage, ...], answer: str, asking: Asking
) -> tuple[Message, ...]:
    """Make the conversation of one question on passages.

    Raises:
        Malformed: the question is too long for a prompt.
    """
    try:
        asked = prompt(question, passages, asking)
    except QuestionTooLong as error:
        raise Malformed("QuestionTooLong", str(error)) from error
    return (*(Message(role, text) for role, text in asked), Message("assistant", answer))


def rewritten(example: Example, text: "Mapping[str, str]") -> Example:
    """Replace texts of an example: `text` gives for each of its texts the one to put there."""
    return replace(
        example,
        messages=tuple(Message(one.role, text[one.content]) for one in example.messages),
        passages=tuple(Passage(one.document, text[one.text]) for one in example.passages),
        question=text[example.question],
    )


def texts(example: Example) -> list[str]:
    """List every text of an example."""
    return [
        *(message.content for message in example.messages),
        *(passage.text for passage in example.passages),
        example.question,
    ]


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
        document = _short(row, "document", _DOCUMENT_CHARACTERS)
        return messages, *taken_apart(messages[-2].content, document)
    if {"prompt", "completion"} <= row.keys():
        question, answer = _text(row, "prompt"), _text(row, "completion")
        return asked_with(question, (), answer, asking), question, ()
    if {"question", "answer"} <= row.keys():
        question, answer = _text(row, "question"), _text(row, "answer")
        passages = _passages(row.get("context"), _short(row, "document", _DOCUMENT_CHARACTERS))
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
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, str):
            passages.append(Passage(document, _text({"context": one}, "context")))
        elif isinstance(one, dict):
            place = _short(one, "document", _DOCUMENT_CHARACTERS) or document
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


def utc_text(moment: datetime) -> str:
    """Write a time so that texts sort as times do: RFC 3339 in UTC, to the microsecond.

    A time without a zone is taken as UTC.
    """
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27)
