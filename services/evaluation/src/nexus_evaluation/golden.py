"""Golden sets: questions with known answers on frozen contexts, as a versioned file.

The file is JSON Lines in UTF-8: one item a line, after a first line that may name the set,
``{"goldenSet": NAME, "version": "...", "schema": 1}``.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer

from nexus_evaluation.errors import BadGoldenSet, EmptyGoldenSet
from nexus_evaluation.records import Record, checked, decoded, digest, lines, written

SCHEMA = 1

Text = Annotated[str, Field(min_length=1, max_length=1_000_000)]
Name = Annotated[str, Field(max_length=1024)]


def _worded(text: str) -> str:
    if not any(char.isalnum() for char in text):
        raise ValueError("a fact needs a letter or a digit")
    return text


Fact = (
    Annotated[str, Field(strict=True, max_length=1000), AfterValidator(_worded)]
    | Annotated[int, Field(strict=True)]
    | Annotated[float, Field(strict=True, allow_inf_nan=False)]
)
"""What a right answer holds: words, or a number."""


class Context(Record):
    """One passage that both models are given with the question."""

    document: Name = ""
    """Where it is from."""
    text: Text
    """What it says."""


class GoldenItem(Record):
    """One question, its accepted answers, and the frozen passages it is asked with."""

    id: Annotated[str, Field(min_length=1, max_length=256)]
    """Unique in the set."""
    question: Text
    """What is asked."""
    references: Annotated[tuple[Text, ...], Field(min_length=1, max_length=64)]
    """Accepted answers; a metric counts the best of them."""
    contexts: Annotated[tuple[Context, ...], Field(max_length=256)] = ()
    """Frozen passages, in the order that they are given."""
    document: Name = ""
    """Source document: items of one document are not independent of each other."""
    language: Annotated[str, Field(pattern=r"^([A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*)?$")] = ""
    """BCP 47 tag, for instance `de`; empty when unknown."""
    topic: Annotated[str, Field(max_length=128)] = ""
    """A group that is reported apart."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Anything else, for instance who added it."""
    facts: Annotated[tuple[Fact, ...], Field(max_length=64)] = ()
    """What every right answer holds; the metric `facts` counts how many of them one does."""

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out facts where there are none: sets from before them keep their digest."""
        whole: dict[str, Any] = write(self)
        if not self.facts:
            whole.pop("facts", None)
        return whole

    @property
    def cluster(self) -> str:
        """What resampling draws as a whole: the document, or the item itself."""
        return self.document or self.id


class _Header(Record):
    golden_set: Name = ""
    version: Name = ""
    schema_: Annotated[Literal[1], Field(alias="schema")] = 1


@dataclass(frozen=True, slots=True)
class GoldenSet:
    """A named version of a set.  ``digest`` names the content: order and header do not matter."""

    items: tuple[GoldenItem, ...]
    name: str = ""
    version: str = ""

    @property
    def digest(self) -> str:
        """The sha256 over the items in the order of their ids."""
        ordered = sorted(self.items, key=lambda item: item.id)
        return digest(item.model_dump(mode="json", by_alias=True) for item in ordered)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids, in the order of the file."""
        return tuple(item.id for item in self.items)


def read(content: bytes, name: str = "golden set") -> GoldenSet:
    """Read a golden set; ``name`` is what messages call the file.

    Raises ``BadGoldenSet`` with the line: not UTF-8, not JSON, a field missing, unknown or wrong,
    an id given twice, a schema of another time; ``EmptyGoldenSet`` when there is no item at all.
    """
    header, items, seen = _Header(), list[GoldenItem](), dict[str, int]()
    for number, value in lines(decoded(content, name, BadGoldenSet), name, BadGoldenSet):
        if isinstance(value, Mapping) and "goldenSet" in value:
            if number != 1:
                raise BadGoldenSet(f"{name}, line {number}: the set is named on the first line")
            header = checked(_Header, value, name=name, number=number, error=BadGoldenSet)
            continue
        item = checked(GoldenItem, value, name=name, number=number, error=BadGoldenSet)
        if item.id in seen:
            first = seen[item.id]
            raise BadGoldenSet(f"{name}, line {number}: id {item.id!r} stands on line {first} too")
        seen[item.id] = number
        items.append(item)
    if not items:
        raise EmptyGoldenSet(f"{name}: holds no item")
    return GoldenSet(tuple(items), header.golden_set, header.version)


def write(golden: GoldenSet) -> bytes:
    """Write the file that ``read`` reads back to an equal set."""
    head: list[dict[str, Any]] = []
    if golden.name or golden.version:
        head = [{"goldenSet": golden.name, "version": golden.version, "schema": SCHEMA}]
    return written([*head, *(item.model_dump(mode="json") for item in golden.items)])


def add(golden: GoldenSet, new: Iterable[GoldenItem], *, version: str) -> GoldenSet:
    """Give a new version of the set with ``new`` at its end; the old one stays as it is.

    Raises ``BadGoldenSet`` for an id or a question (compared without case, spaces and
    punctuation, in the same contexts) that the set has, and for a version that is not new.
    """
    if version == golden.version:
        raise BadGoldenSet(f"version {version!r} is the set's own; a new content needs a new one")
    items = list(golden.items)
    ids = {item.id for item in items}
    asked = {_asked(item): item.id for item in items}
    for item in new:
        if item.id in ids:
            raise BadGoldenSet(f"id {item.id!r} is in the set already")
        if (twin := asked.get(_asked(item))) is not None:
            raise BadGoldenSet(f"item {item.id!r} asks what {twin!r} asks, in the same contexts")
        ids.add(item.id)
        asked[_asked(item)] = item.id
        items.append(item)
    return replace(golden, items=tuple(items), version=version)


def from_feedback(
    *,
    response_id: str,
    question: str,
    corrected_answer: str,
    contexts: Iterable[Context],
    document: str = "",
    language: str = "",
    topic: str = "",
) -> GoldenItem:
    """Make the item of a corrected answer; its id follows from the response, so twice is once.

    ``document`` falls back to the document of the first passage.  Raises ``BadGoldenSet`` for
    an empty question or correction.
    """
    if not question.strip() or not corrected_answer.strip():
        raise BadGoldenSet(f"response {response_id!r}: a question and a correction are needed")
    frozen = tuple(contexts)
    return GoldenItem(
        id=f"feedback-{response_id}",
        question=question.strip(),
        references=(corrected_answer.strip(),),
        contexts=frozen,
        document=document or next((context.document for context in frozen), ""),
        language=language,
        topic=topic,
        tags={"source": "feedback", "response": response_id},
    )


def _asked(item: GoldenItem) -> tuple[str, ...]:
    question = unicodedata.normalize("NFKC", item.question).casefold()
    return (re.sub(r"[\W_]+", "", question), *(context.text for context in item.contexts))
