"""What is looked at of an answer, as named bins.  Pure."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from nexus_evaluation.language import language_of
from nexus_evaluation.metrics.facts import Facts, facts, words_of
from nexus_evaluation.metrics.words import words
from nexus_knowledge.ledger import Response
from nexus_knowledge.prompting.prompt import NOTHING_RELEVANT
from nexus_monitor.form import BROKEN, form_of

Labels = Mapping[str, str]
"""The bin of each feature; a feature that an answer does not have is not there."""

_QUESTION_WORDS: Final = (4, 7, 10, 15, 25, 50)
_ANSWER_WORDS: Final = (5, 15, 30, 60, 120, 240)
_SCORES: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_READ: Final = 20_000  # characters of a text that are looked at

NO_PASSAGE: Final = "no passage"
FORM: Final = "form"
"""The feature whose worst bins are of broken answers."""


def _ranges(cuts: Sequence[float]) -> tuple[str, ...]:
    inner = (f"{low:g} to {high:g}" for low, high in pairwise(cuts))
    return (f"below {cuts[0]:g}", *inner, f"from {cuts[-1]:g}")


def _binned(value: float, cuts: Sequence[float]) -> str:
    return _ranges(cuts)[bisect_right(cuts, value)]


def _question_length(response: Response) -> str:
    return _binned(len(words(response.question[:_READ])), _QUESTION_WORDS)


def _answer_length(response: Response) -> str:
    return _binned(len(words(response.answer[:_READ])), _ANSWER_WORDS)


def _language(response: Response) -> str:
    return language_of(response.question) or "not told"


def _refusal(response: Response) -> str:
    said = response.answer.strip()
    return "refused" if said in {"", NOTHING_RELEVANT} else "answered"


def _form(response: Response) -> str | None:
    """Name the form of what a model said to passages: without any, clients choose what it says."""
    if not response.index or not response.passages:
        return None
    return form_of(response.answer[:_READ])


def _top_score(response: Response) -> str | None:
    if not response.index:
        return None
    told = (one.get("score") for one in response.passages)
    best = max((one for one in told if isinstance(one, int | float)), default=None)
    return NO_PASSAGE if best is None else _binned(best, _SCORES)


def _carried(response: Response) -> str | None:
    """Tell whether the passages hold the numbers, units and names that the answer states."""
    if not response.index or not response.passages:
        return None
    stated = facts(response.answer[:_READ])
    if not len(stated):
        return "states none"
    text = "\n\n".join(str(one.get("text", "")) for one in response.passages)[:_READ]
    source = Facts(facts(text).quantities, words_of(text))
    return "not all in the passages" if len(stated.unsupported_by(source)) else "in the passages"


_FEATURES: Final[Mapping[str, Callable[[Response], str | None]]] = {
    "questionLength": _question_length,
    "questionLanguage": _language,
    "answerLength": _answer_length,
    "refusal": _refusal,
    FORM: _form,
    "topScore": _top_score,
    "facts": _carried,
}
ORDER: Final[Mapping[str, Sequence[str]]] = {
    "topScore": (NO_PASSAGE, *_ranges(_SCORES)),
    FORM: BROKEN,
}
"""Bins from bad to good, of the features that have such; those that are not named are good."""


def labels(response: Response) -> Labels:
    """Name the bins that an answer falls into."""
    found = {name: measure(response) for name, measure in _FEATURES.items()}
    return {name: label for name, label in found.items() if label is not None}


def counted(labelled: Iterable[Labels]) -> dict[str, Counter[str]]:
    """Count the bins of each feature that any answer has."""
    counts: dict[str, Counter[str]] = {}
    for one in labelled:
        for feature, label in one.items():
            counts.setdefault(feature, Counter())[label] += 1
    return counts
