"""The form of an answer, by what its text looks like alone.  Pure."""

import re
from typing import Final

EMPTY: Final = "empty"
MARKERS: Final = "markers of a chat template"
BROKEN: Final = (EMPTY, MARKERS)
"""Forms that nobody asks for: of the server or the model's chat template, as a rule."""

_MARKERS = re.compile(
    r"<\|[^|<>\n]{1,40}\|>"  # <|im_start|>, <|eot_id|>
    r"|\[/?INST\]|<</?SYS>>|</s>|<(?:start|end)_of_turn>"
    r"|<\uff5c[^\uff5c\n]{1,40}\uff5c>"
)
# A bracket alone begins no JSON: answers begin with [1], too.
_DATA = re.compile(r'\s*(?:\{\s*["}]|\[\s*[{\["]|<[A-Za-z!?])')
_FENCE = re.compile(r"^[ \t]*```", re.MULTILINE)
_ITEM = re.compile(r"^[ \t]*(?:[-*\u2022] |[0-9]{1,3}[.)] |\|)", re.MULTILINE)
_FEWEST_ITEMS = 2


def form_of(answer: str) -> str:
    """Name the form of an answer."""
    if not answer.strip():
        return EMPTY
    if _MARKERS.search(answer):
        return MARKERS
    if _DATA.match(answer) or _FENCE.search(answer):
        return "data or code"
    return "list or table" if len(_ITEM.findall(answer)) >= _FEWEST_ITEMS else "prose"
