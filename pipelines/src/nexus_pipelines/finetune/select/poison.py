"""Rules that keep poisoned text out of a training set.  Pure.

Each rule has a name that reports show.  They look for what no honest example holds: the tokens
by which a chat template tells one speaker from the next, characters that no reader sees, and
text that is not language at all.
"""

import re
from collections.abc import Callable, Sequence

from nexus_pipelines.finetune.select.examples import Example, texts

LONGEST_TEXT = 64_000  # characters of one message or passage
LONGEST_EXAMPLE = 256_000  # characters of all of them

_ROLE_TOKENS = re.compile(
    r"<\|[^|<>\n]{1,40}\|>"  # <|im_start|>, <|eot_id|>, <|endoftext|>, <|system|>
    r"|\[/?INST\]|<</?SYS>>|</?s>|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>"
    r"|<\uff5c[^\uff5c\n]{1,40}\uff5c>",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# Zero-width characters are part of some scripts one at a time; tags and overrides hide text.
_HIDDEN = re.compile(
    r"[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]|[\u200b-\u200f\u2060\ufeff]{3}"
)
_BLOB = re.compile(r"(?:[A-Za-z0-9+/_-]{160,}={0,2}|(?:[A-Za-z0-9+/]{60,76}\r?\n){4,})")
_REPEATED = re.compile(r"(\S)\1{200}")


def _too_long(text: str) -> bool:
    return len(text) > LONGEST_TEXT


RULES: dict[str, Callable[[str], object]] = {
    "AbsurdLength": _too_long,
    "RoleTokens": _ROLE_TOKENS.search,
    "ControlCharacters": _CONTROL.search,
    "HiddenCharacters": _HIDDEN.search,
    "EncodedBlob": _BLOB.search,
    "Repetition": _REPEATED.search,
}
"""The rules by name, in the order in which they are tried."""


def absurd(parts: Sequence[str]) -> bool:
    """Say whether texts of one example, or one of them, are longer than any honest one."""
    return sum(map(len, parts)) > LONGEST_EXAMPLE or any(_too_long(part) for part in parts)


def poisoned(example: Example) -> str:
    """Name the first rule that an example breaks; "" when it breaks none."""
    return broken_rule(texts(example))


def broken_rule(parts: Sequence[str]) -> str:
    """Name the first rule that texts of one example break; "" when they break none."""
    if absurd(parts):
        return "AbsurdLength"
    for name, breaks in RULES.items():
        if any(breaks(part) for part in parts):
            return name
    return ""
