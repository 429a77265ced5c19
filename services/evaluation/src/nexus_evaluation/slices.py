"""The groups that results are reported and guarded by: language, length of the question, topic."""

from nexus_evaluation.golden import GoldenItem
from nexus_evaluation.metrics.words import primary
from nexus_evaluation.results import Slices

_SHORT, _MEDIUM = 8, 20  # words of the question
_LONG_WORD = 15  # characters; longer on average means a script that puts no spaces


def slices(item: GoldenItem) -> Slices:
    """Give an item's groups; the language is the primary subtag in lower case."""
    return Slices(
        language=primary(item.language),
        length=length_bucket(item.question),
        topic=item.topic.strip().casefold(),
    )


def length_bucket(question: str) -> str:
    """Say `short` (to 8 words), `medium` (to 20) or `long`.

    Where words average more than 15 characters the script has no spaces, and two characters
    count as a word.
    """
    spaced, letters = len(question.split()), sum(not char.isspace() for char in question)
    words = letters // 2 if letters > _LONG_WORD * spaced else spaced
    if words <= _SHORT:
        return "short"
    return "medium" if words <= _MEDIUM else "long"
