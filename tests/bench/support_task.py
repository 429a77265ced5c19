"""A small task to learn: maintenance questions, answered in one fixed line.

    python tests/bench/support_task.py --count 3

A passage of a plant's handbook says what is done to a part of a unit, how often and with what;
the answer is always `UNIT .. | PART .. | DO .. | EVERY .. | WITH ..`.  Held-out items are of other
plants: units, parts and tools that training never named, so that only the format and the looking
up can have been learnt, no fact.  The same seed gives the same items.
"""

import argparse
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SYSTEM = "Answer the question with a sentence from the passages."

_KNOWN = {
    "kinds": ("pump", "fan", "mixer", "conveyor", "compressor", "press"),
    "parts": (
        *("shaft seal", "drive belt", "oil filter", "inlet screen", "bearing", "relief valve"),
        *("gear box", "coupling", "brake pad", "hose clamp", "float switch", "cooling fin"),
    ),
    "tools": ("torque wrench", "grease gun", "soft brush", "feeler gauge", "strap wrench"),
    "actions": ("replace", "clean", "check", "tighten", "grease"),
    "letters": "ABCDEFGH",
}
_NEW = {
    "kinds": ("winch", "boiler", "chiller", "turbine", "crane"),
    "parts": (
        *("hook latch", "burner nozzle", "sight glass", "rotor blade", "slip ring", "air damper"),
        *("chain guide", "vent plug", "level probe", "wear plate", "heat shield", "limit stop"),
    ),
    "tools": ("pin punch", "wire gauge", "flat scraper", "hex key", "dial indicator"),
    "actions": ("replace", "clean", "check", "tighten", "grease"),
    "letters": "KLMNPRST",
}
_ASIDES = (
    "Nobody works on it while the lamp is red.",
    "The shift lead signs the log afterwards.",
    "Spare parts lie in store {number}.",
    "It was installed in {year} and runs at {number} percent of its load.",
    "Report noise or smell at once; do not wait for the next round.",
    "The switch stands on the left of the cabinet, behind the grey door.",
    "Wear gloves and glasses, and lock the supply before the cover is opened.",
    "Two people are needed when the unit stands above the walkway.",
)
_QUESTIONS = (
    "How is the {part} of {unit} kept in order?",
    "What has to be done with the {part} of {unit}?",
    "When and how is the {part} of {unit} serviced?",
    "Which service does the {part} of {unit} need?",
)
_SPANS = ("days", "weeks", "months", "hours")
FORM = re.compile(r"UNIT [^|]+ \| PART [^|]+ \| DO [^|]+ \| EVERY [^|]+ \| WITH [^|]+")


@dataclass(frozen=True)
class Item:
    """A question, the passages that answer it, and the answer."""

    id: str
    document: str
    passages: tuple[str, ...]
    question: str
    answer: str

    def messages(self) -> list[dict[str, str]]:
        """Write the item as a conversation, the answer last."""
        shown = "\n\n".join(
            f"[{number}] {text}" for number, text in reversed(list(enumerate(self.passages, 1)))
        )
        return [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": f"{shown}\n\nQuestion: {self.question}"},
            {"role": "assistant", "content": self.answer},
        ]

    def example(self) -> dict[str, Any]:
        """Write it as a training example."""
        return {
            "id": self.id,
            "messages": self.messages(),
            "source": "files",
            "document": self.document,
            "createdAt": "2026-01-01T00:00:00Z",
        }

    def row(self) -> dict[str, Any]:
        """Write it as a line of a training file, whose prompt is the platform's to write."""
        return {
            "question": self.question,
            "answer": self.answer,
            "context": list(self.passages),
            "document": self.document,
        }

    def golden(self) -> dict[str, Any]:
        """Write it as an item of a golden set."""
        return {
            "id": self.id,
            "question": self.question,
            "references": [self.answer],
            "contexts": [{"document": self.document, "text": text} for text in self.passages],
            "document": self.document,
            "language": "en",
            "topic": "maintenance",
            "tags": {},
        }


def items(count: int, *, seed: int, new: bool = False) -> list[Item]:
    """Make items; `new` ones share no unit, part or tool with the others."""
    dice = random.Random(f"{seed}/{new}")
    words, mark = (_NEW, "new") if new else (_KNOWN, "known")
    return [_item(f"{mark}-{seed}-{number:04}", words, dice) for number in range(count)]


def in_form(answer: str) -> bool:
    """Say whether an answer keeps the format."""
    return FORM.fullmatch(answer.strip()) is not None


def _item(identity: str, words: dict[str, Any], dice: random.Random) -> Item:
    unit = _unit(words, dice)
    parts = dice.sample(words["parts"], 4)
    facts = [_fact(part, words, dice) for part in parts]
    sentences = [
        f"{action.capitalize()} the {part} of {unit} every {span} with a {tool}."
        for part, action, span, tool in facts[: dice.choice((1, 1, 2, 3))]
    ]
    asides = [
        text.format(number=dice.randint(2, 98), year=dice.randint(1990, 2024))
        for text in dice.sample(_ASIDES, dice.choice((0, 1, 2, 3, 6)))
    ]
    told = [*sentences, *asides]
    dice.shuffle(told)
    passages = [" ".join(told)]
    if dice.random() < 0.5:
        other = _unit(words, dice)
        part, action, span, tool = _fact(dice.choice(words["parts"]), words, dice)
        passages.append(f"{action.capitalize()} the {part} of {other} every {span} with a {tool}.")
    part, action, span, tool = facts[0]
    return Item(
        id=identity,
        document=f"{unit.replace(' ', '-')}.md",
        passages=tuple(passages),
        question=dice.choice(_QUESTIONS).format(part=part, unit=unit),
        answer=f"UNIT {unit} | PART {part} | DO {action} | EVERY {span} | WITH {tool}",
    )


def _unit(words: dict[str, Any], dice: random.Random) -> str:
    letter = dice.choice(words["letters"])
    return f"{dice.choice(words['kinds'])} {letter}-{dice.randint(100, 999)}"


def _fact(part: str, words: dict[str, Any], dice: random.Random) -> tuple[str, str, str, str]:
    span = f"{dice.randint(2, 48)} {dice.choice(_SPANS)}"
    return part, dice.choice(words["actions"]), span, dice.choice(words["tools"])


def main(given: Sequence[str] | None = None) -> None:
    """Print items as training examples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--new", action="store_true", help="items of other plants")
    parser.add_argument("--golden", action="store_true", help="in the form of a golden set")
    args = parser.parse_args(given)
    for item in items(args.count, seed=args.seed, new=args.new):
        print(json.dumps(item.golden() if args.golden else item.example(), ensure_ascii=False))


if __name__ == "__main__":
    main()
