"""Behavioural tests: items changed in a way whose effect on the answer is known beforehand.

Invariance: a question put otherwise (case, spaces, courtesy, order of passages) has one answer.
Typos: so has one with a few slips of the finger.  Direction: where a number that the answer rests
on changes in the passages, the answer must change with it; a model that answers from memory fails.
Source of the three kinds: Ribeiro et al., Beyond Accuracy: Behavioral Testing of NLP Models with
CheckList, 2020.
"""

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal

from nexus_evaluation.golden import Context, GoldenItem
from nexus_evaluation.metrics.words import primary
from nexus_evaluation.records import Record
from nexus_evaluation.results import ItemResult
from nexus_evaluation.statistics.shares import share_interval

Kind = Literal["invariance", "direction", "typo"]
Score = Callable[[str, GoldenItem], float]

_TOLERANCE: Final[Mapping[Kind, float]] = {"invariance": 0.1, "typo": 0.2, "direction": 0.0}
"""By how much a score may fall and the item still pass."""
_COURTESY: Final = {
    "en": "Please tell me: ",
    "de": "Bitte sagen Sie mir: ",
    "es": "Por favor, dígame: ",
    "fr": "Dites-moi, s'il vous plaît : ",
}
_NUMBER = re.compile(r"(?<![\w.,])\d{1,6}(?![\w]|[.,]\d)")
_WORD = re.compile(r"[^\W\d_]{5,}")


class Perturbed(Record):
    """A changed item, the item that it comes from, and what is expected of its answer."""

    kind: Kind
    name: str
    origin: str
    """Id of the item that was changed."""
    item: GoldenItem
    """Its id is `<origin>~<name>`; its references are those that are right after the change."""


class Behaviour(Record):
    """How many items of one kind of change passed."""

    kind: Kind
    name: str
    items: int
    passed: int
    share: float
    lower: float
    """Clopper and Pearson's 95 % interval of the share."""
    upper: float
    failed: tuple[str, ...]
    """Ids of the changed items that failed."""


def perturb(items: Iterable[GoldenItem], *, seed: int = 0) -> tuple[Perturbed, ...]:
    """Change each item in every way that fits it; the same seed gives the same changes."""
    return tuple(
        Perturbed(
            kind=kind,
            name=name,
            origin=item.id,
            item=changed.model_copy(update={"id": f"{item.id}~{name}"}),
        )
        for item in items
        for kind, name, change in _CHANGES
        if (changed := change(item, _random(seed, item.id, name))) is not None
    )


def judge(
    perturbed: Sequence[Perturbed],
    originals: Mapping[str, GoldenItem],
    answers: Mapping[str, str],
    score: Score,
) -> tuple[Behaviour, ...]:
    """Judge answers, by item id, to the changed items against those to the originals.

    ``score`` gives 0 to 1 for an answer to an item.  A changed item or original without an answer
    counts as failed.
    """
    groups: dict[tuple[Kind, str], list[Perturbed]] = {}
    for one in perturbed:
        groups.setdefault((one.kind, one.name), []).append(one)
    found = []
    for (kind, name), members in groups.items():
        failed = tuple(
            one.item.id for one in members if not _passes(one, originals, answers, score)
        )
        passed = len(members) - len(failed)
        low, high = share_interval(passed, len(members))
        found.append(
            Behaviour(
                kind=kind,
                name=name,
                items=len(members),
                passed=passed,
                share=passed / len(members),
                lower=low,
                upper=high,
                failed=failed,
            )
        )
    return tuple(found)


def answers_of(results: Iterable[ItemResult]) -> dict[str, str]:
    """Give the answers of results, by item id."""
    return {result.id: result.answer for result in results}


def _passes(
    one: Perturbed,
    originals: Mapping[str, GoldenItem],
    answers: Mapping[str, str],
    score: Score,
) -> bool:
    if one.item.id not in answers or one.origin not in answers:
        return False
    told, original = answers[one.item.id], originals[one.origin]
    if one.kind == "direction":
        # Nearer to what is right now than to what was right before.
        return score(told, one.item) > score(told, original)
    return score(told, original) >= score(answers[one.origin], original) - _TOLERANCE[one.kind]


def _random(seed: int, *parts: str) -> random.Random:
    # By item and change, so that another item in the set changes nothing for this one.
    return random.Random("\0".join((str(seed), *parts)))  # noqa: S311 - not a secret


def _asked(item: GoldenItem, question: str) -> GoldenItem | None:
    changed = item.model_copy(update={"question": question})
    return changed if question.strip() and question != item.question else None


def _lower_case(item: GoldenItem, _: random.Random) -> GoldenItem | None:
    return _asked(item, item.question.lower())


def _no_mark(item: GoldenItem, _: random.Random) -> GoldenItem | None:
    return _asked(item, item.question.rstrip(" ?.!\uff1f\u3002"))


def _spaces(item: GoldenItem, _: random.Random) -> GoldenItem | None:
    return _asked(item, f"  {item.question.replace(' ', '  ')} ")


def _courteous(item: GoldenItem, _: random.Random) -> GoldenItem | None:
    words = _COURTESY.get(primary(item.language))
    return _asked(item, words + item.question) if words else None


def _other_order(item: GoldenItem, chance: random.Random) -> GoldenItem | None:
    contexts = list(item.contexts)
    chance.shuffle(contexts)
    if tuple(contexts) == item.contexts:
        contexts.reverse()
    same = tuple(contexts) == item.contexts
    return None if same else item.model_copy(update={"contexts": tuple(contexts)})


def _typos(item: GoldenItem, chance: random.Random) -> GoldenItem | None:
    # Longer lower-case words only: a name or number with a slip may be another one.
    places = [m for m in _WORD.finditer(item.question) if m.group().islower()]
    chosen = sorted(chance.sample(places, min(2, len(places))), key=lambda m: -m.start())
    question = item.question
    for match in chosen:
        slipped = _slip(match.group(), chance)
        question = question[: match.start()] + slipped + question[match.end() :]
    return _asked(item, question)


def _slip(word: str, chance: random.Random) -> str:
    at = chance.randrange(1, len(word) - 2)
    match chance.randrange(3):
        case 0:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        case 1:
            return word[:at] + word[at + 1 :]
        case _:
            return word[:at] + word[at] + word[at:]


def _other_number(item: GoldenItem, chance: random.Random) -> GoldenItem | None:
    """Change a number that every reference and a passage hold, in both; not in the question."""
    shared = set.intersection(*(set(_NUMBER.findall(text)) for text in item.references))
    told = {number for context in item.contexts for number in _NUMBER.findall(context.text)}
    fitting = sorted((shared & told) - set(_NUMBER.findall(item.question)))
    if not fitting:
        return None
    old = chance.choice(fitting)
    new = str(int(old) + chance.randrange(2, 9))
    if new in told:
        return None

    def replaced(text: str) -> str:
        return _NUMBER.sub(lambda m: new if m.group() == old else m.group(), text)

    contexts = tuple(
        Context(document=context.document, text=replaced(context.text)) for context in item.contexts
    )
    references = tuple(replaced(reference) for reference in item.references)
    return item.model_copy(update={"contexts": contexts, "references": references})


_CHANGES: Final[
    tuple[tuple[Kind, str, Callable[[GoldenItem, random.Random], GoldenItem | None]], ...]
] = (
    ("invariance", "lower-case", _lower_case),
    ("invariance", "no-question-mark", _no_mark),
    ("invariance", "spaces", _spaces),
    ("invariance", "courtesy", _courteous),
    ("invariance", "passages-reordered", _other_order),
    ("typo", "typos", _typos),
    ("direction", "another-number", _other_number),
)
