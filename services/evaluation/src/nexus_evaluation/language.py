"""The language of a text, by its script and its commonest words.  Pure.

Made for a check of whole data sets, not for single sentences: a text that gives too little to go
by is of no language (""), which never counts against it.
"""

import re
from collections import Counter

_SCRIPTS = {
    "ja": "\u3040-\u30ff",
    "ko": "\uac00-\ud7af",
    "zh": "\u4e00-\u9fff",
    "ru": "\u0400-\u04ff",
    "el": "\u0370-\u03ff",
    "he": "\u0590-\u05ff",
    "ar": "\u0600-\u06ff",
    "hi": "\u0900-\u097f",
    "th": "\u0e00-\u0e7f",
}
_COUNTS = {tag: re.compile(f"[{characters}]") for tag, characters in _SCRIPTS.items()}
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")
_WORD = re.compile("[a-z\u00df-\u024f]+")
_FEWEST_WORDS = 2  # common words that a language must show
_LEAD = 1.5  # times as many as the next one shows

_COMMON = {
    "en": "the of and to in is that it was for on are with as at be this have from or by not but"
    " what all were when we there can an your which their if will each about how up out then she"
    " do does must should before after has its they you where who why",
    "de": "der die das und ist nicht ein eine einen einem einer zu von mit auf den dem des im wird"
    " werden wie wann was wo muss soll bei nach aus oder auch sich als am sind f\u00fcr \u00fcber"
    " durch vor ich sie er es kann welche welcher zum zur nur noch",
    "fr": "le la les un une des du de et est dans que qui pour pas sur avec ce cette il elle sont"
    " par plus au aux ne se son sa ses ou mais comment quand quel quelle doit \u00eatre nous vous"
    " o\u00f9 \u00e0 leur apr\u00e8s avant",
    "es": "el la los las un una de del y es en que por para con no se su sus al lo como m\u00e1s o"
    " este esta est\u00e1 son cu\u00e1ndo qu\u00e9 c\u00f3mo debe ser antes despu\u00e9s pero hay"
    " cu\u00e1l donde d\u00f3nde cada",
    "it": "il lo la i gli le un una uno di del della dei e \u00e8 in che per con non si su da al"
    " alla come pi\u00f9 sono quando quale cosa deve essere prima dopo ma o anche ogni nel nella"
    " dove perch\u00e9",
    "nl": "de het een van en is in dat op te voor met niet zijn aan er om ook als bij door naar uit"
    " wordt worden wanneer wat hoe moet of maar nog wel welke deze dit na over kan",
    "pt": "o a os as um uma de do da dos das e \u00e9 em que por para com n\u00e3o se no na ao mais"
    " como quando qual deve ser antes depois mas ou s\u00e3o est\u00e1 cada onde",
}
_WORDS = {tag: frozenset(words.split()) for tag, words in _COMMON.items()}


def language_of(text: str) -> str:
    """Return the tag of a text's language, for instance `de`; "" when it cannot be told."""
    sample = text[:20_000]
    latin = len(_LATIN.findall(sample))
    scripts = Counter({tag: len(count.findall(sample)) for tag, count in _COUNTS.items()})
    tag, most = scripts.most_common(1)[0]
    if most > latin:
        # Japanese is written with Chinese characters and kana in between.
        return "ja" if tag == "zh" and scripts["ja"] * 10 > most else tag
    return _of_latin(_WORD.findall(sample.casefold()))


def _of_latin(words: list[str]) -> str:
    shown = Counter({tag: sum(word in common for word in words) for tag, common in _WORDS.items()})
    (tag, first), (_, second) = shown.most_common(2)
    return tag if first >= _FEWEST_WORDS and first >= _LEAD * second else ""
