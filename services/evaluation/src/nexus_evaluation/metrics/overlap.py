"""How far an answer overlaps with its references; each metric counts the best reference, 0 to 1."""

from collections import Counter
from collections.abc import Iterable, Sequence

from nexus_evaluation.metrics.words import normalised, primary, words


def exact_match(answer: str, references: Iterable[str], language: str = "") -> float:
    """Say 1.0 when the answer is a reference but for case, punctuation and articles, else 0.0."""
    given = normalised(answer, language)
    wanted = (normalised(reference, language) for reference in references)
    return float(bool(given) and given in wanted)


def token_f1(answer: str, references: Iterable[str], language: str = "") -> float:
    """Give the harmonic mean of precision and recall of words (Rajpurkar et al. 2016)."""
    given = words(answer, language)
    return max((_f1(given, words(reference, language)) for reference in references), default=0.0)


def rouge_l(answer: str, references: Iterable[str], language: str = "") -> float:
    """Give ROUGE-L as Lin (2004) defines it, with beta 1.

    With LCS the longest common subsequence of words, m words in the reference and n in the
    answer: R = LCS / m, P = LCS / n, F = 2 R P / (R + P).  Words keep their articles; no stemming.
    """
    given = words(answer, language, articles=True)
    return max(
        (_lcs_f(given, words(text, language, articles=True)) for text in references), default=0.0
    )


def bleu(answer: str, references: Sequence[str], language: str = "") -> float:
    """Give sacrebleu's sentence BLEU: exponential smoothing, effective order, by 1."""
    from sacrebleu.metrics.bleu import BLEU

    if not answer.strip() or not references:
        return 0.0
    tokenizer = {"zh": "zh", "ja": "char", "th": "char"}.get(primary(language), "13a")
    metric = BLEU(effective_order=True, tokenize=tokenizer)
    return _share(metric.sentence_score(answer, list(references)).score)


def chrf(answer: str, references: Sequence[str], language: str = "") -> float:
    """Give sacrebleu's sentence chrF2 (Popovic 2015), by 1; the same in every language."""
    from sacrebleu.metrics.chrf import CHRF

    del language
    if not answer.strip() or not references:
        return 0.0
    return _share(CHRF().sentence_score(answer, list(references)).score)


def longest_common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Count the words of the longest common subsequence, a machine word at a time.

    Source: Hyyrö, Bit-parallel LCS-length computation revisited, 2004; Python's integers are the
    bit vectors.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    everything = (1 << len(one)) - 1
    row = everything
    for word in other:
        matched = row & places.get(word, 0)
        row = ((row + matched) | (row - matched)) & everything
    return len(one) - row.bit_count()


def _f1(given: Sequence[str], wanted: Sequence[str]) -> float:
    if not given or not wanted:
        return 0.0
    common = (Counter(given) & Counter(wanted)).total()
    return 2 * common / (len(given) + len(wanted))


def _lcs_f(given: Sequence[str], wanted: Sequence[str]) -> float:
    if not given or not wanted:
        return 0.0
    # 2 R P / (R + P) with R = LCS / m and P = LCS / n.
    return 2 * longest_common_subsequence(given, wanted) / (len(given) + len(wanted))


def _share(percent: float) -> float:
    return min(max(percent / 100.0, 0.0), 1.0)
