"""Personal data and credentials in text: found by pattern and checksum, and redacted.  Pure.

Redaction comes before anything else is done with a text, so that nothing of it reaches a file,
a log or a model.  Digits stay as they are unless they are such a number: measurements, part
numbers and dates are knowledge.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import NamedTuple

_IBAN_LENGTHS = range(15, 35)
_CARD_LENGTHS = range(13, 20)
_PHONE_DIGITS = range(8, 16)
_MOST_LOOKS = 16


class Finding(NamedTuple):
    """A piece of a text, text[start:end]."""

    kind: str
    start: int
    end: int


def _all_of(text: str) -> int:
    return len(text)


def _iban(text: str) -> int:
    """ISO 13616: the number, its first four characters moved to the end, is 1 modulo 97.

    Words that follow may look like more of it, so the longest right prefix counts.
    """
    for end in range(len(text), 0, -1):
        packed = text[:end].replace(" ", "")
        if (
            len(packed) not in _IBAN_LENGTHS
            or text[end : end + 1].isalnum()
            or text[end - 1] == " "
        ):
            continue
        moved = packed[4:] + packed[:4]
        if int("".join(str(int(one, 36)) for one in moved)) % 97 == 1:
            return end
    return 0


def _card(text: str) -> int:
    """ISO/IEC 7812: Luhn's checksum; numbers of one digit alone are no cards."""
    digits = [int(one) for one in text if one.isdigit()]
    if len(digits) not in _CARD_LENGTHS or len(set(digits)) == 1:
        return 0
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled  # noqa: PLR2004 - one digit
    return 0 if total % 10 else len(text)


def _phone(text: str) -> int:
    return len(text) if sum(one.isdigit() for one in text) in _PHONE_DIGITS else 0


_RULES: tuple[tuple[str, re.Pattern[str], Callable[[str], int]], ...] = (
    (
        "key",
        re.compile(
            r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]{0,20000}"
            r"(?:-----END [A-Z ]{0,30}KEY-----)?"
            # A JSON web token; bounded, or else each beginning would look to the end of the text.
            r"|\beyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,16000}\.[A-Za-z0-9_-]*"
            r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
            r"|\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{20,}"
            r"|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{30,}"
            r"|\bglpat-[A-Za-z0-9_-]{20,}|\bhf_[A-Za-z0-9]{30,}|\bxox[abprs]-[A-Za-z0-9-]{10,}"
            r"|\bAIza[A-Za-z0-9_-]{35}"
        ),
        _all_of,
    ),
    (
        "email",
        re.compile(
            r"(?<![\w.+-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@"
            r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}\b"
        ),
        _all_of,
    ),
    ("iban", re.compile(r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,38}(?![a-z])"), _iban),
    (
        "card",
        re.compile(
            # In groups of four, American Express in 4-6-5; by the first digits of the networks.
            r"(?<![\w.,-])(?<![0-9] )"
            r"(?:(?:4[0-9]{3}|5[1-5][0-9]{2}|2[2-7][0-9]{2}|6(?:011|5[0-9]{2}))"
            r"(?:[ -]?[0-9]{4}){3}|3[47][0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{5})(?![\w-])"
        ),
        _card,
    ),
    (
        "phone",
        re.compile(
            # International: + or 00 and a country; national: 0, an area and a separator.
            # Not in the middle of other groups of digits.
            r"(?<![\w.,/+-])(?<![0-9] )"
            r"(?:(?:\+|00)[1-9](?:[ ./-]?\(?[0-9]\)?){7,13}"
            r"|\(0?[1-9][0-9]{1,4}\)[ ./-]?[0-9](?:[ -]?[0-9]){5,9}"
            r"|0[1-9][0-9]{1,4}[ /][0-9](?:[ -]?[0-9]){5,9})(?![\w-])"
        ),
        _phone,
    ),
)
KINDS = tuple(kind for kind, _, _ in _RULES)


def findings(text: str) -> Iterator[Finding]:
    """Find personal data, kind by kind; what one kind found is not looked at by the next."""
    taken: list[tuple[int, int]] = []  # in order, none overlaps another
    for kind, pattern, measure in _RULES:
        found = []
        for match in pattern.finditer(text):
            start = match.start()
            end = start + measure(match.group())
            if start < end and _free(taken, start, end):
                found.append((start, end))
                yield Finding(kind, start, end)
        taken = sorted([*taken, *found])


def _free(taken: list[tuple[int, int]], start: int, end: int) -> bool:
    after = bisect_left(taken, (start,))
    clear_left = after == 0 or taken[after - 1][1] <= start
    return clear_left and (after == len(taken) or taken[after][0] >= end)


def redact(text: str) -> tuple[str, tuple[str, ...]]:
    """Put `[email]`, `[phone]`, `[iban]`, `[card]` or `[key]` in place of what is found.

    Returns the text and the kinds, one for each place.  Redacting twice changes nothing more.
    Text in which there is ever more to be found is made for that: nothing of it is kept.
    """
    kinds: list[str] = []
    looks = 0
    # A place that was redacted can bring two others together, so look until nothing is left.
    while found := sorted(findings(text), key=lambda one: one.start):
        looks += 1
        if looks > _MOST_LOOKS:
            return f"[{found[0].kind}]", (*kinds, found[0].kind)
        parts, end = [], 0
        for one in found:
            parts += [text[end : one.start], f"[{one.kind}]"]
            end = one.end
        text = "".join([*parts, text[end:]])
        kinds += [one.kind for one in found]
    return text, tuple(kinds)
