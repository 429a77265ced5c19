"""Training examples that a golden set asks for: they would make it a test of memory.  Pure."""

from collections.abc import Iterable, Mapping

from nexus_evaluation.golden import GoldenItem
from nexus_pipelines.finetune.select.examples import LANGUAGE, Example
from nexus_pipelines.finetune.select.likeness import NearIndex, normalised

_ANSWER_WORDS = 4  # of an answer that two documents do not give in the same words
_QUOTED_WORDS = 8  # of a question that may stand inside an example by chance


class GoldenIndex:
    """The questions of a golden set, ready to be looked for in examples."""

    def __init__(self, items: Iterable[GoldenItem]) -> None:
        self._items = sorted(items, key=lambda one: one.id)
        self._same: dict[str, list[GoldenItem]] = {}
        self._starts: dict[str, list[tuple[str, GoldenItem]]] = {}
        self._near = NearIndex()
        for item in self._items:
            question = normalised(item.question)
            self._same.setdefault(question, []).append(item)
            self._near.add(item.question)
            words = question.split()
            if len(words) >= _QUOTED_WORDS:
                start = " ".join(words[:_QUOTED_WORDS])
                self._starts.setdefault(start, []).append((question, item))

    def leak(self, example: Example) -> tuple[str, str] | None:
        """Say which golden item an example gives away: (rule, id of the item); or None.

        `SameQuestion`: a user's message asks it but for case and punctuation.  `NearQuestion`:
        nearly in the same words, with the same numbers and names.  `QuotedQuestion`: a question
        of eight words or more stands inside a message.  Asked on passages of other documents it
        is another question, unless their texts or the answer are the item's.  What passages say
        beside that is not looked at: documents are there to be known.
        """
        for question in _asked(example):
            for item in self._same.get(normalised(question), ()):
                if _on_the_same(example, item):
                    return "SameQuestion", item.id
        for question in _asked(example):
            for number in self._near.near(question):
                if _on_the_same(example, self._items[number]):
                    return "NearQuestion", self._items[number].id
        quoted = self._quoted(example)
        return None if quoted is None else ("QuotedQuestion", quoted)

    def _quoted(self, example: Example) -> str | None:
        for text in _spoken(example):
            words = normalised(text).split()
            for start in range(len(words) - _QUOTED_WORDS + 1):
                begins = " ".join(words[start : start + _QUOTED_WORDS])
                for question, item in self._starts.get(begins, ()):
                    asked = question.split()
                    if words[start : start + len(asked)] == asked and _on_the_same(example, item):
                        return item.id
        return None


def _on_the_same(example: Example, item: GoldenItem) -> bool:
    theirs = {context.document or context.text for context in item.contexts}
    if not (example.places and theirs) or not theirs.isdisjoint(example.places):
        return True
    # One document may go by two names (`pump.md`, `handbook/pump.md`): then its text tells, or
    # an answer that is too long to be the same by chance.
    texts = {normalised(passage.text) for passage in example.passages}
    if any(normalised(context.text) in texts for context in item.contexts):
        return True
    answer = normalised(example.answer)
    long = len(answer.split()) >= _ANSWER_WORDS
    return long and any(normalised(one) == answer for one in item.references)


def _asked(example: Example) -> list[str]:
    """List the questions of a conversation; the last one without its passages."""
    earlier = [one.content for one in example.messages[:-2] if one.role == "user"]
    return [*earlier, example.question]


def _spoken(example: Example) -> list[str]:
    answers = [one.content for one in example.messages if one.role != "user"]
    return [*_asked(example), *answers]


def golden_items(examples: Iterable[Example]) -> tuple[GoldenItem, ...]:
    """Make golden items of held-out examples, in the order of their ids.

    A conversation of several turns asks by what was said before, which an item cannot hold, so
    those are left out.
    """
    return tuple(
        GoldenItem.model_validate(_item(example))
        for example in sorted(examples, key=lambda one: one.id)
        if sum(one.role == "user" for one in example.messages) == 1
    )


def _item(example: Example) -> Mapping[str, object]:
    language = example.language
    return {
        "id": example.id,
        "question": example.question,
        "references": [example.answer],
        "contexts": [passage._asdict() for passage in example.passages],
        "document": example.document,
        "language": language if LANGUAGE.fullmatch(language) else "",
        "topic": example.topic,
        "tags": {"source": example.source.value},
    }
