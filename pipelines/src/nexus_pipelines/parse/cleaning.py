"""Characters that no index, database or terminal should meet are replaced one for one.

The length never changes, so the offsets of a citation hold in the decoded source file too.
"""

import re

# C0 without tab, newline and carriage return; DEL and C1; lone surrogates (not encodable as
# UTF-8); non-characters, which PDF writers use as marks.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_SPACES = re.compile(r"\s+")
_VISIBLE = re.compile(
    r"\w|[^\s\u0000-\u002f\u00ad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufffd]"
)

MAX_LABEL = 300


def fit(text: str) -> str:
    """Replace control characters, lone surrogates and non-characters by spaces, one for one."""
    return _UNFIT.sub(" ", text)


def label(text: str) -> str:
    """Make one line of at most 300 characters of a title or heading."""
    return _SPACES.sub(" ", fit(text)).strip()[:MAX_LABEL].strip()


def has_content(text: str) -> bool:
    """Tell whether a reader would see anything but space and punctuation."""
    return _VISIBLE.search(text) is not None
