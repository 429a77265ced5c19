"""`facts`: the share of an item's declared facts that an answer holds, without a judge.

A fact that is text is held where its words stand in the answer one after the other, normalised as
exact match normalises; a number among them, or a fact that is a number, is compared by its value:
2.50 is 2,5 and 1,000 is 1000.  A single mark before three digits may be either (1.234, 1,234): both
readings count.  Digits behind a leading zero (007) and between several marks (1.2.3) are a name,
not a number.

What it does not see: what else an answer says.  One that denies a fact in its words, or names every
possible fact, holds it; a number in words (three) is no number, and a true fact in other words is
not found.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from nexus_evaluation.metrics.facts import UNITS, behind_amounts
from nexus_evaluation.metrics.words import words

_SPACED = re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))")  # thin marks of thousands
_AMOUNT = re.compile(r"(?P<sign>[-+]?)(?P<digits>\d+(?:[.,']\d+)*)(?P<unit>\D*)")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?P<mark>[.,'])\d{3}(?:(?P=mark)\d{3})*")
_DECIMAL = re.compile(r"(?P<whole>\d+|[1-9]\d{0,2}(?:(?P<mark>[.,'])\d{3})+)[.,](?P<part>\d+)")


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    values: frozenset[Decimal] = frozenset()

    def means(self, other: "_Word") -> bool:
        if self.values and other.values:
            return bool(self.values & other.values)
        return self.text == other.text


def facts_held(answer: str, declared: Sequence[str | int | float], language: str = "") -> float:
    """Give the share of the declared facts that the answer holds, 0 to 1.

    Raises ``ValueError`` when none is declared.
    """
    if not declared:
        raise ValueError("no facts are declared")
    whole, bare = _read(answer, language, articles=True), _read(answer, language, articles=False)
    held = [
        _holds_text(whole, bare, fact, language)
        if isinstance(fact, str)
        else _holds_number(whole, fact)
        for fact in declared
    ]
    return sum(held) / len(held)


def _holds_number(told: Sequence[_Word], number: float) -> bool:
    value = Decimal(str(number))
    return any(value in word.values for word in told)


def _holds_text(whole: Sequence[_Word], bare: Sequence[_Word], fact: str, language: str) -> bool:
    wanted, short = (_read(fact, language, articles=kept) for kept in (True, False))
    # What ends a fact is no article, however it looks: Vitamin A is not any vitamin.
    ends_alike = short[-1:] == wanted[-1:]
    return _stands(wanted, whole) or (ends_alike and _stands(short, bare))


def _stands(wanted: Sequence[_Word], told: Sequence[_Word]) -> bool:
    """Say whether the wanted words stand somewhere one after the other."""
    if not wanted:
        return False
    return any(
        all(want.means(word) for want, word in zip(wanted, told[at:], strict=False))
        for at in range(len(told) - len(wanted) + 1)
    )


def _read(text: str, language: str, *, articles: bool) -> list[_Word]:
    plain = behind_amounts(_SPACED.sub("", text))
    return [part for word in words(plain, language, articles=articles) for part in _parts(word)]


def _parts(word: str) -> list[_Word]:
    """Split a known unit from its number: 90°c and 90 °c are the same two words."""
    found = _AMOUNT.fullmatch(word)
    if not found or (found["unit"] and found["unit"] not in UNITS):
        return [_Word(word)]
    number = found["sign"] + found["digits"]
    values = frozenset(
        -value if found["sign"] == "-" else value for value in _values(found["digits"])
    )
    return [_Word(number, values), *([_Word(found["unit"])] if found["unit"] else [])]


def _values(digits: str) -> set[Decimal]:
    """Read digits and their marks in every way that they may be meant."""
    if digits.isdecimal():
        return set() if digits[0] == "0" and len(digits) > 1 else {Decimal(digits)}
    found = set()
    if thousands := _THOUSANDS.fullmatch(digits):
        found.add(Decimal(digits.replace(thousands["mark"], "")))
    if decimal := _DECIMAL.fullmatch(digits):
        whole = re.sub(r"[.,']", "", decimal["whole"])
        found.add(Decimal(f"{whole}.{decimal['part']}"))
    return found
