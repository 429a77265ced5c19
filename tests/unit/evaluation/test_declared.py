"""The metric `facts`: declared words and numbers, found in answers as wholes."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nexus_evaluation.golden import GoldenItem
from nexus_evaluation.metrics import score
from nexus_evaluation.metrics.declared import facts_held
from nexus_evaluation.metrics.words import words

letters = st.text(st.sampled_from("abcdeßéжあ九xyz"), min_size=1, max_size=6)
latin = st.text(st.sampled_from("abcdeßéжxyz"), min_size=1, max_size=6)
phrases = st.lists(letters, min_size=1, max_size=4).map(" ".join)
numbers = st.integers(-(10**9), 10**9) | st.decimals(
    -10_000, 10_000, allow_nan=False, places=2
).map(float)
declared = st.lists(phrases | numbers, min_size=1, max_size=5)
languages = st.sampled_from(["", "de", "en", "es"])


@pytest.mark.parametrize(
    ("fact", "answer"),
    [
        ("90 °C", "Keep it below 90°C, always."),
        ("90°C", "below 90 °C"),
        ("the seal", "A seal, then."),
        ("Seal-Kit 7", "order the seal kit 7!"),
        ("Vitamin A", "It lacks vitamin A."),
        (2.5, "It opens at 2,50 bar."),
        ("2.5 bar", "2,5 bar"),
        (1000, "1,000 hours"),
        (1000, "1.000 Stunden"),
        (1000, "1'000"),
        (1000, "1\u202f000 heures"),
        (1.234, "exactly 1.234"),
        ("1234.5", "1,234.50"),
        (-5, "at \u22125 degrees"),
        (5, "5 %"),
        ("5 %", "some 5% of it"),
        ("$20", "20 $"),
        ("EUR 20", "that is eur 20."),
        (17, "17kg"),
        ("007", "agent 007"),
        ("1.2.3", "version 1.2.3."),
        ("九十度", "温度は九十度です"),
    ],
)
def test_what_is_held_however_it_is_written(fact: str | float, answer: str) -> None:
    assert facts_held(answer, [fact], "en") == 1.0


@pytest.mark.parametrize(
    ("fact", "answer"),
    [
        ("cat", "concatenate"),
        (5, "15, 50, 0.5 and -5"),
        (12, "1.2"),
        (5, "five"),
        ("seal kit", "kit of the seal"),
        ("Vitamin A", "vitamin C"),
        ("007", "7"),
        (7, "007"),
        (1.2, "1.2.3"),
        ("P17", "P 17"),
        (17, "P17"),
        (31, "17b31"),
        ("90 °C", "90 °F"),
        ("x", ""),
        (0, ""),
        ("…", "… and so on"),
    ],
)
def test_what_is_not_held(fact: str | float, answer: str) -> None:
    assert facts_held(answer, [fact], "en") == 0.0


def test_the_score_is_the_share() -> None:
    answer = "Every 400 hours, by the operator."
    assert facts_held(answer, [400, "operator", "weekly"], "en") == pytest.approx(2 / 3)


def test_without_facts_there_is_no_score() -> None:
    with pytest.raises(ValueError, match="no facts are declared"):
        facts_held("x", [], "en")


@given(declared, phrases, phrases, languages)
def test_an_answer_that_says_them_all_scores_one(
    facts: list[str | float], before: str, after: str, language: str
) -> None:
    # A stop between them: a minus behind a number, say, is a range and no sign.
    answer = " ; ".join([before, *(str(fact) for fact in facts), after])
    assert facts_held(answer, facts, language) == 1.0


@given(declared, phrases, phrases, languages)
def test_saying_more_takes_nothing_away(
    facts: list[str | float], answer: str, more: str, language: str
) -> None:
    longer = facts_held(f"{answer} ; {more}", facts, language)
    assert longer >= facts_held(answer, facts, language)


@given(st.text(max_size=60), st.lists(st.text(max_size=12) | numbers, min_size=1), languages)
def test_any_text_scores_from_0_to_1(answer: str, facts: list[str | float], language: str) -> None:
    found = facts_held(answer, facts, language)
    assert 0.0 <= found <= 1.0
    assert facts_held(answer, facts[::-1], language) == pytest.approx(found)


@given(st.text(max_size=40), languages)
def test_an_exact_match_holds_its_reference(text: str, language: str) -> None:
    assume(words(text, language))
    assert facts_held(text, [text], language) == 1.0


@given(latin, latin, languages)
def test_a_part_of_a_word_is_not_the_word(word: str, more: str, language: str) -> None:
    assert facts_held(word + more, [word], language) == 0.0


@given(st.integers(0, 10**12), st.sampled_from([",", ".", "'", "\u202f"]))
def test_marks_of_thousands_change_no_number(number: int, mark: str) -> None:
    assert facts_held(f"some {number:,} hours".replace(",", mark), [number]) == 1.0


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
def test_another_number_is_another_fact(one: int, other: int) -> None:
    assume(one != other)
    assert facts_held(f"{other} hours", [one]) == 0.0


def test_an_item_is_scored_by_its_facts_and_one_without_is_not() -> None:
    item = GoldenItem(id="a", question="q", references=("400 hours",), facts=(400, "hours"))
    assert score("400 days", item, ["facts"]) == {"toxicity": 0.0, "facts": 0.5}
    with pytest.raises(ValueError, match="'facts' cannot be computed"):
        score("x", item.model_copy(update={"facts": ()}), ["facts"])
