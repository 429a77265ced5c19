"""Training examples: what they are, and how the steps of a run write them down.  Pure."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from nexus_knowledge.errors import QuestionTooLong
from nexus_pipelines.finetune.select.prompts import Asking, Passage, prompt
from nexus_pipelines.finetune.store import compact

MOST_PASSAGES = 256  # of one question, as in a golden set
LONGEST_DOCUMENT = 1024  # characters of its name, as in a golden set
LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")  # BCP 47, as in a golden set
_SHOWN = 300  # characters of a message


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
    def said(self) -> str:
        """Name what is asked and answered: the same whatever prompt production puts around it."""
        asked: list[Any] = [self.question, self.answer, [list(one) for one in self.passages]]
        if not self.composed:
            asked = [[message.role, message.content] for message in self.messages]
        return hashlib.sha256(compact(asked).encode()).hexdigest()[:20]

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
    """A row is no example; `reason` is one CamelCase word.  The message stays short."""

    def __init__(self, reason: str, message: str) -> None:
        # It may show what stands in the row, which may be megabytes.
        super().__init__(message if len(message) <= _SHOWN else f"{message[:_SHOWN]} ...")
        self.reason = reason


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


def marks(example: Example) -> tuple[str, str]:
    """Name what is learnt with an example, as hashes: its group, and what it says."""
    return group_mark(example.group), example.said


def group_mark(group: str) -> str:
    """Name a group (`Example.group`) by a hash."""
    return hashlib.sha256(group.encode("utf-8", "surrogatepass")).hexdigest()[:20]


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


def utc_text(moment: datetime) -> str:
    """Write a time so that texts sort as times do: RFC 3339 in UTC, to the microsecond.

    A time without a zone is taken as UTC.
    """
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27)
