"""Overlap with references: normalised where that is right, and never where numbers would change."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_evaluation.golden import Context, GoldenItem
from nexus_evaluation.metrics import OVERLAP, score
from nexus_evaluation.metrics.overlap import (
    bleu,
    chrf,
    exact_match,
    longest_common_subsequence,
    rouge_l,
    token_f1,
)
from nexus_evaluation.metrics.words import words

texts = st.text(max_size=40)
letters = st.lists(st.sampled_from("abcd"), max_size=90)


@pytest.mark.parametrize(
    ("answer", "reference", "language", "equal"),
    [
        ("The Pump.", "pump", "en", True),
        ("The Pump.", "pump", "", False),
        ("Die Pumpe!", "pumpe", "de-AT", True),
        ("die Pumpe", "Pumpe", "en", False),
        ("La bomba", "bomba", "es", True),
        ("\uff30\uff55\uff4d\uff50", "pump", "", True),
        ("Stra\u00dfe", "STRASSE", "de", True),
        ("cafe\u0301", "caf\u00e9", "fr", True),
        ("1.5 bar", "15 bar", "en", False),
        ("1.5 bar.", "1.5 bar", "en", True),
        ("-5 °C", "5 °C", "en", False),
        ("\u22125 °C", "-5 °C", "en", True),
        ("5 %", "5", "en", False),
        ("10-5", "10 5", "en", True),
        ("don't", "dont", "en", False),
        ("the", "a", "en", False),
        ("", "!", "en", False),
        ("90度です。", "90度です", "ja", True),
    ],
)
def test_exact_match(answer: str, reference: str, language: str, equal: bool) -> None:
    assert exact_match(answer, ["another", reference], language) == float(equal)


def test_f1_counts_words_in_any_script() -> None:
    assert token_f1("turn the red valve", ["Turn the blue valve"], "en") == pytest.approx(2 / 3)
    assert token_f1("東京都", ["東京"], "ja") == pytest.approx(0.8)
    assert token_f1("किताब", ["किताब"], "hi") == 1.0
    assert words("किताब अच्छी", "hi") == ["किताब", "अच्छी"]


def test_rouge_l_is_that_of_lin_2004() -> None:
    reference = ["police killed the gunman"]
    assert rouge_l("police kill the gunman", reference, "en") == pytest.approx(3 / 4)
    assert rouge_l("the gunman kill police", reference, "en") == pytest.approx(2 / 4)
    # Different lengths: LCS 3, R = 3/4, P = 3/6.
    recall, precision = 3 / 4, 3 / 6
    expected = 2 * recall * precision / (recall + precision)
    given = "police now kill all the gunman"
    assert rouge_l(given, reference, "en") == pytest.approx(expected)


def test_bleu_and_chrf_are_sacrebleus_by_one() -> None:
    import sacrebleu

    answer, reference = "the valve is shut by hand", "the valve is closed by hand"
    expected = sacrebleu.sentence_bleu(answer, [reference], use_effective_order=True).score
    assert bleu(answer, [reference], "en") == pytest.approx(expected / 100)
    expected = sacrebleu.sentence_chrf(answer, [reference]).score
    assert chrf(answer, [reference]) == pytest.approx(expected / 100)
    assert bleu("閉じたバルブを開けます", ["閉じたバルブを開けます"], "ja") == pytest.approx(1.0)


@given(letters, letters)
def test_the_fast_common_subsequence_is_the_plain_one(one: list[str], other: list[str]) -> None:
    row = [0] * (len(other) + 1)
    for left in one:
        before, row = row, [0]
        for place, right in enumerate(other):
            best = before[place] + 1 if left == right else max(before[place + 1], row[place])
            row.append(best)
    assert longest_common_subsequence(one, other) == row[-1]


@pytest.mark.parametrize("name", OVERLAP)
@given(answer=texts, references=st.lists(texts, max_size=3), language=st.sampled_from(["", "de"]))
def test_scores_of_any_text_run_from_0_to_1(
    name: str, answer: str, references: list[str], language: str
) -> None:
    value = OVERLAP[name](answer, tuple(references), language)
    assert 0.0 <= value <= 1.0
    assert not math.isnan(value)
    more = OVERLAP[name](answer, (*references, answer), language)
    if name != "bleu":  # BLEU pools references, the others count the best
        assert more >= value
    if words(answer, language):
        assert OVERLAP[name](answer, (answer,), language) == pytest.approx(1.0)


def test_no_answer_scores_nothing() -> None:
    assert {name: metric("", ("x",), "en") for name, metric in OVERLAP.items()} == dict.fromkeys(
        OVERLAP, 0.0
    )


def test_an_item_is_scored_by_the_metrics_that_are_named() -> None:
    item = GoldenItem(
        id="a",
        question="q",
        references=("90 degrees",),
        language="en",
        contexts=(Context(text="Keep the pump at 90 degrees."),),
    )
    assert score("90 degrees", item, ["f1", "exactMatch"]) == {
        "toxicity": 0.0,
        "f1": 1.0,
        "exactMatch": 1.0,
    }
    with pytest.raises(ValueError, match="'support' cannot be computed"):
        score("x", item, ["support"])
    with pytest.raises(ValueError, match="'accuracy' cannot"):
        score("x", item, ["accuracy"])
