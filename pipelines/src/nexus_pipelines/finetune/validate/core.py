"""The gates that a selection has to pass before anything is trained.  Pure.

Each gate has a name, a value and a limit, and says in a sentence what they mean.  All are judged,
so that one report tells everything that is to be mended.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nexus_api.training import DataGates
from nexus_evaluation.golden import GoldenItem
from nexus_evaluation.language import language_of
from nexus_pipelines.finetune.personal import findings
from nexus_pipelines.finetune.select.examples import Example, texts
from nexus_pipelines.finetune.select.leakage import GoldenIndex
from nexus_pipelines.finetune.select.likeness import normalised
from nexus_pipelines.finetune.select.poison import RULES
from nexus_pipelines.finetune.validate.profile import Profile

_DISTINCT_ANSWERS = 2


@dataclass(frozen=True, slots=True)
class Gate:
    """One judgement: `passed` says whether `value` is within `limit`."""

    name: str
    passed: bool
    value: float
    limit: float
    message: str

    @property
    def parameters(self) -> dict[str, Any]:
        """What the Workflow passes on."""
        return {
            "name": self.name,
            "passed": self.passed,
            "value": self.value,
            "limit": self.limit,
        }


@dataclass(frozen=True, slots=True)
class Checked:
    """What is judged: the examples of the run, its golden set, and what `select` said of them."""

    train: Sequence[Example]
    heldout: Sequence[Example]
    golden: Sequence[GoldenItem]
    document: Mapping[str, Any]  # select/selection.json
    unreadable: int  # rows of the selection that are no examples, or not those that it names


def judge(checked: Checked, limits: DataGates, profile: Profile) -> list[Gate]:
    """Judge a selection, and the profile of it, by every gate."""
    examples = [*checked.train, *checked.heldout]
    too_long = profile.train.too_long + profile.heldout.too_long
    return [
        _at_most("schema", checked.unreadable, 0, "{} rows are not as `select` wrote them"),
        _at_least("minExamples", len(checked.train), limits.min_examples,
                  "{} examples to train on; at least {} are needed"),
        _distinct(checked.train),
        _at_least("goldenItems", len(checked.golden), 1,
                  "{} golden items; without any nothing can be evaluated. Name "
                  "evaluation.goldenSet, or give examples of more than one document, one of "
                  "them new: what a better model has learnt tests no other"),
        _at_most("maxDuplicatePercent", _percent(profile.duplicates, checked.document["judged"]),
                 limits.max_duplicate_percent,
                 "{} % of the examples repeat another one or nearly so; at most {} % may"),
        _dropped(checked, limits, too_long),
        _at_most("length", _percent(too_long, len(examples)), limits.max_dropped_percent,
                 "{} % of the examples are longer than lora.sequenceTokens allows "
                 f"({profile.limit}, by {profile.unit}); at most {{}} % may be"),
        _language(checked, limits),
        _at_most("toxicity", _percent(profile.train.toxic, profile.train.examples),
                 limits.max_toxic_percent,
                 "{} % of the examples teach an insult or a threat; at most {} % may"),
        _personal(checked, limits),
        _at_most("redaction", sum(_still_personal(one) for one in examples), 0,
                 "{} examples still hold personal data or credentials"),
        _leakage(checked),
    ]  # fmt: skip


def failure(gates: Iterable[Gate]) -> str:
    """Say which gates failed and why; "" when none did."""
    failed = [gate for gate in gates if not gate.passed]
    said = "; ".join(f"{gate.name}: {gate.message}" for gate in failed)
    return (
        f"the data did not pass {', '.join(gate.name for gate in failed)}. {said}" if said else ""
    )


def _distinct(train: Sequence[Example]) -> Gate:
    answers = len({normalised(example.answer) or example.answer for example in train})
    return _at_least(
        "distinctAnswers",
        answers,
        min(_DISTINCT_ANSWERS, max(len(train), 1)),
        "{} different answers; a set in which all answers are alike teaches nothing else",
    )


def _dropped(checked: Checked, limits: DataGates, too_long: int) -> Gate:
    """Judge what is lost: malformed, poisoned and too long rows, of all that were read."""
    malformed = sum(checked.document["malformed"].values())
    poisoned = sum(checked.document["dropped"].get(rule, 0) for rule in RULES)
    read = sum(count for name, count in checked.document["rows"].items() if name != "older")
    return _at_most(
        "maxDroppedPercent",
        _percent(malformed + poisoned + too_long, read),
        limits.max_dropped_percent,
        f"{{}} % of the rows are lost ({malformed} malformed, {poisoned} poisoned, {too_long} too "
        "long; the first are named in select/selection.json); at most {} % may be",
    )


def _language(checked: Checked, limits: DataGates) -> Gate:
    """Hold the examples' languages against those that the golden set tests."""
    tested = {_primary(item.language) or _detected(item) for item in checked.golden} - {""}
    told = Counter(_primary(example.language) for example in checked.train)
    others = {tag: count for tag, count in told.items() if tag and tested and tag not in tested}
    named = ", ".join(f"{count} {tag}" for tag, count in sorted(others.items())) or "none"
    named = named.replace("{", "{{").replace("}", "}}")  # what a row says is no format
    return _at_most(
        "language",
        _percent(sum(others.values()), len(checked.train)),
        limits.max_other_language_percent,
        f"{{}} % of the examples ({named}) are in a language that the golden set "
        f"({', '.join(sorted(tested)) or 'of no known language'}) does not test; at most {{}} % "
        "may be",
    )


def _personal(checked: Checked, limits: DataGates) -> Gate:
    redacted = checked.document["redacted"]
    places = ", ".join(f"{count} {kind}" for kind, count in redacted["places"].items()) or "none"
    return _at_most(
        "personalData",
        _percent(redacted["examples"], checked.document["judged"]),
        limits.max_pii_percent,
        f"personal data or credentials were redacted in {{}} % of the examples ({places}); at most "
        "{} % may hold any",
    )


def _leakage(checked: Checked) -> Gate:
    """Look for the golden set in what is learnt once more, in the very rows that are trained on."""
    index = GoldenIndex(checked.golden)
    leaked = sum(index.leak(example) is not None for example in checked.train)
    return _at_most("leakage", leaked, 0, "{} training examples give away a golden item")


def _still_personal(example: Example) -> bool:
    return any(next(findings(text), None) for text in texts(example))


def _primary(language: str) -> str:
    return language.split("-", maxsplit=1)[0].lower()


def _detected(item: GoldenItem) -> str:
    return language_of("\n".join([item.question, *item.references]))


def _percent(count: int, whole: int) -> float:
    return round(100 * count / whole, 2) if whole else 0.0


def _at_most(name: str, value: float, limit: float, message: str) -> Gate:
    return Gate(name, value <= limit, value, limit, message.format(value, limit))


def _at_least(name: str, value: float, limit: float, message: str) -> Gate:
    return Gate(name, value >= limit, value, limit, message.format(value, limit))
