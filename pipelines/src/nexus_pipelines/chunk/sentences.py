"""Where sentences, paragraphs, list items and table rows begin."""

# ruff: noqa: RUF001 - quotes and full stops of all scripts are the subject

import re

# Each alternative is linear: no repetition can be entered in two ways.
_BOUNDARY = re.compile(
    r"""
    (?<=[.!?…؟।])["'”’»)\]]{0,3}\s+          # after a full stop, with its closing quotes
  | [。！？｡][」』”’）]{0,3}\s*                 # scripts that leave no space
  | \n[ \t]*\r?\n\s*                          # a blank line
  | \n(?=[ \t]{0,8}(?:[-*+•‣·|>]|\#{1,6}|\d{1,3}[.)])[ \t])   # a list item, table row, heading
    """,
    re.VERBOSE,
)
_LAST_WORD = re.compile(r"(?:^|[\s(\"'“‘«\[])([^\s(\"'“‘«\[]{1,12})\.$")
_ABBREVIATIONS = frozenset(
    """
    mr mrs ms dr prof st jr sr vs etc e.g i.e cf al fig figs eq no nos vol pp approx dept
    est inc ltd co corp z.b d.h u.a bzw ca usw evtl ggf nr str abs p.ej sra ud uds núm pág
    """.split()  # noqa: SIM905 - read as words, not as a column
)


def sentence_starts(text: str) -> list[int]:
    """Give the offsets at which a sentence begins after another; ascending, without 0."""
    starts: list[int] = []
    for found in _BOUNDARY.finditer(text):
        begin, end = found.span()
        if end < len(text) and not _goes_on(text, begin, end):
            starts.append(end)
    return starts


def _goes_on(text: str, begin: int, end: int) -> bool:
    """Tell an abbreviation's or an initial's full stop from a sentence's."""
    if text[begin - 1 : begin] != "." or text.count("\n", begin, end) > 1:
        return False
    if text[end].islower():
        return True
    word = _LAST_WORD.search(text, max(0, begin - 16), begin)
    if word is None:
        return False
    name = word[1]
    return (len(name) == 1 and name.isupper()) or name.lower() in _ABBREVIATIONS
