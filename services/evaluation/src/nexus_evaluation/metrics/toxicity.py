"""Toxicity by a short public list of words: cheap, the same for all, and easily read.

It is no classifier.  The score is the severity of the worst match: 1.0 a threat of violence or a
slur against a group, 0.6 an insult to a person, 0.3 coarse language, 0.0 nothing on the list.  It
knows English, German, Spanish and French, whole words only.  It misses irony, spelling tricks
and everything said in other words, and it counts a word that is only quoted; a low score says
that nothing on the list was said, not that a text is harmless.
"""

import re
import unicodedata
from typing import Final

THREAT: Final = 1.0
INSULT: Final = 0.6
COARSE: Final = 0.3

# Spelt as str.casefold leaves them: ss for ß.
_GROUPS: Final = {
    THREAT: (
        r"(?:i(?:'ll| will| am going to)|we(?:'ll| will)) (?:kill|murder|hurt|shoot|stab) you",
        r"kill yourself|go die|you (?:should|deserve to) die",
        r"ich (?:bringe? dich um|werde dich (?:töten|umbringen))|bring dich um",
        r"te voy a matar|mátate",
        r"je vais te tuer|tue-toi",
        r"n[i1]gg(?:er|a)s?|fagg?ots?|k[iy]kes?|spics?|chinks?|tranny|trannies|kanaken?|neger",
    ),
    INSULT: (
        r"idiots?|morons?|imbeciles?|retards?|retarded|scum|bitch(?:es)?|bastards?|assholes?",
        r"arseholes?|dickheads?|whores?|sluts?|cunts?|wankers?|shut up|you(?:'re| are) stupid",
        r"arschl(?:o|ö)ch(?:er)?|wichser|hurensohn|hurensöhne|schlampen?|vollidiot(?:en)?",
        r"halt die fresse|missgeburt(?:en)?|dummkopf",
        r"gilipollas|cabr[oó]n(?:es)?|hijos? de puta|putas?|imb[eé]cil(?:es)?|estúpid[oa]s?",
        r"connards?|conn?asses?|salopes?|encul[eé]s?|fils de pute|ta gueule",
    ),
    COARSE: (
        r"fuck(?:s|ed|ing|er|ers)?|shit(?:s|ty)?|bullshit|crap|damn|goddamn|piss(?:ed)? off",
        r"scheisse|verdammt|fick(?:en|t)?",
        r"mierda|joder|coño",
        r"merde|putain|bordel",
    ),
}
_PATTERNS: Final = {
    severity: re.compile(rf"(?<!\w)(?:{'|'.join(parts)})(?!\w)")
    for severity, parts in _GROUPS.items()
}


def toxicity(text: str) -> float:
    """Give the severity of the worst match, 0.0 to 1.0; lower is better."""
    worst = matches(text)
    return max((severity for severity, _ in worst), default=0.0)


def matches(text: str) -> list[tuple[float, str]]:
    """Give every match with its severity, so that a person can judge the judgement."""
    folded = unicodedata.normalize("NFKC", text).replace("\u2019", "'").casefold()
    return [
        (severity, match.group())
        for severity, pattern in _PATTERNS.items()
        for match in pattern.finditer(folded)
    ]
