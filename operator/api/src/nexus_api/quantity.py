"""Amounts of bytes as Kubernetes writes them: `64Mi`, `1Gi`, `500k`."""

import re
from typing import Annotated

from pydantic import Field

PATTERN = r"^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|k|M|G|T)?$"

ByteQuantity = Annotated[str, Field(min_length=1, max_length=17, pattern=PATTERN)]
"""A whole number of bytes with an optional unit, for instance `64Mi`."""

_FORM = re.compile(r"([1-9][0-9]{0,14})(Ki|Mi|Gi|Ti|k|M|G|T)?")
_UNITS = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


class BadQuantity(ValueError):
    """The text is no amount of bytes."""


def parse_bytes(text: str) -> int:
    """Return the number of bytes; raises BadQuantity for anything but a whole number and a unit."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise BadQuantity(f"{text!r} is no amount of bytes; write for instance 64Mi or 1Gi")
    return int(match[1]) * _UNITS[match[2] or ""]
