"""Names of children: a repeated create meets the same name, so it is answered by a 409."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST = 63
"""Longest name of a child: it also stands in label values."""

HASH_LENGTH = 8


def digest(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """Return the SHA-256 of a JSON value in hexadecimal; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def short_hash(*parts: object) -> str:
    """Return eight hexadecimal digits that stand for `parts` (JSON values)."""
    return digest(parts)[:HASH_LENGTH]


def child_name(stem: str, *what: str) -> str:
    """Return `<stem>-<what...>`, the stem cut so that the name fits 63 characters."""
    tail = "-".join(what)
    return f"{stem[: LONGEST - len(tail) - 1].rstrip('-.')}-{tail}"
