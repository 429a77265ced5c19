"""Training examples that say again what another says, or answer otherwise what it asks.  Pure."""

from nexus_pipelines.finetune.select.examples import Example
from nexus_pipelines.finetune.select.likeness import NearIndex, normalised


class Kept:
    """The examples that are kept so far, ready to be compared with the next one."""

    def __init__(self) -> None:
        self._by_question: dict[str, list[Example]] = {}
        self._near = NearIndex()

    def add_unless_repeated(self, example: Example) -> str:
        """Add an example, or say why not: `Duplicate`, `Conflict`, `NearDuplicate`; "" if added.

        Of two answers to one question the first one stands.
        """
        asked = self._by_question.setdefault(_asked(example), [])
        if reason := next(filter(None, (_repeats(example, other) for other in asked)), ""):
            return reason
        if not self._near.add_unless_near(_whole(example)):
            return "NearDuplicate"
        asked.append(example)
        return ""


def _repeats(example: Example, kept: Example) -> str:
    """Compare two examples that ask the same; "" when they are asked about different passages."""
    ours, theirs = example.places, kept.places
    if ours and theirs and not ours & theirs:
        return ""
    return "Duplicate" if normalised(example.answer) == normalised(kept.answer) else "Conflict"


def _asked(example: Example) -> str:
    before = [f"{one.role} {one.content}" for one in example.messages[:-2] if one.role != "system"]
    return normalised("\n".join([*before, example.question]))


def _whole(example: Example) -> str:
    """Return what two examples are compared by: everything that is said, passages left out."""
    before = [one.content for one in example.messages[:-2]]
    places = sorted(example.places)
    return "\n".join([*before, example.question, example.answer, *(f"in {one}" for one in places)])
