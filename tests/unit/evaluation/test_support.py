"""Support: carried by the passages in sense, numbers, units, names; blind spots are named."""

import zlib
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_evaluation.metrics.facts import Quantity, facts
from nexus_evaluation.metrics.latency import latency
from nexus_evaluation.metrics.support import Vectors, sentences, support
from nexus_evaluation.metrics.toxicity import matches, toxicity

PASSAGES = ["Keep the Orion pump below 90 °C. The valve opens at 2.5 bar.", "Noise is 80 dB."]


def bag_of_words(texts: Sequence[str]) -> Vectors:
    """Embed by hashed words: a known similarity, without a model."""
    rows = np.zeros((len(texts), 512), dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word in text.lower().replace(".", " ").split():
            row[zlib.crc32(word.encode()) % 512] += 1
    return rows


def test_what_the_passages_say_is_supported() -> None:
    found = support("Keep the Orion pump below 90 °C.", PASSAGES, bag_of_words)
    assert found.score == pytest.approx(1.0)
    assert len(found.unsupported) == 0


@given(st.lists(st.integers(1, 40), min_size=1, max_size=9))
def test_a_copy_of_the_passages_scores_no_more_than_one(lengths: list[int]) -> None:
    """Rounding made 1.0000000000000002 of it, and the gate refused the whole run for that."""
    text = "\n".join("word " * length + "end." for length in lengths)
    found = support(text, [text], lambda texts: np.ones((len(texts), 4), dtype=np.float32))
    assert 1 - 1e-9 < found.score <= 1
    assert found.similarity <= 1
    assert found.facts <= 1


def test_an_embedder_that_gives_no_numbers_is_not_hidden() -> None:
    found = support("A b.", ["A b."], lambda texts: np.full((len(texts), 4), np.nan, np.float32))
    assert np.isnan(found.score)


def test_a_number_of_a_million_digits_is_no_number() -> None:
    assert facts("9" * 1_000_000).quantities == frozenset()


@pytest.mark.parametrize(
    "changed",
    [
        "Keep the Orion pump below 95 °C.",
        "Keep the Orion pump below 90 bar.",
        "Keep the Sirius pump below 90 °C.",
        "The valve opens at 25 bar.",
        "Bananas grow on warm islands.",
    ],
)
def test_another_number_unit_name_or_subject_scores_clearly_less(changed: str) -> None:
    assert support(changed, PASSAGES, bag_of_words).score < 0.7


def test_negation_is_a_blind_spot() -> None:
    told = "The valve opens not at 2.5 bar."
    assert support(told, PASSAGES, bag_of_words).score > 0.8


def test_nothing_said_or_nothing_to_say_it_from_is_no_support() -> None:
    assert support("", PASSAGES, bag_of_words).score == 0.0
    assert support("It is hot.", [], bag_of_words).score == 0.0
    assert support("It is hot.", [" "], bag_of_words).score == 0.0


def test_an_embedder_that_loses_a_text_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"\(1, 512\) for 4 texts"):
        support("It is hot.", PASSAGES, lambda texts: bag_of_words(texts[:1]))


@given(st.text(max_size=60), st.lists(st.text(max_size=60), max_size=3))
def test_any_text_scores_from_0_to_1(answer: str, passages: list[str]) -> None:
    found = support(answer, passages, bag_of_words)
    assert 0.0 <= found.score <= min(found.similarity, 1.0) + 1e-9
    assert 0.0 <= found.facts <= 1.0 + 1e-9


@pytest.mark.parametrize(
    ("text", "quantities"),
    [
        ("1,234.5 kg", {("1234.5", "kg")}),
        ("1.234,5 kg", {("1234.5", "kg")}),
        ("10'000 m", {("10000", "m")}),
        ("1,5 Bar", {("1.5", "bar")}),
        ("-5 °C and 5°C", {("-5", "°C"), ("5", "°C")}),
        ("90 degrees", {("90", "")}),
        ("30 Minuten, 30 min", {("30", "min")}),
        ("€ 12.50", {("12.5", "€")}),
        ("100 %", {("100", "%")}),
        ("version 1.2.3", set()),
        ("none", set()),
    ],
)
def test_quantities_are_compared_by_value_and_unit(
    text: str, quantities: set[tuple[str, str]]
) -> None:
    expected = {Quantity(Decimal(value), unit) for value, unit in quantities}
    assert facts(text).quantities == expected


def test_names_are_found_by_their_capitals_and_digits() -> None:
    assert facts("The pump of Orion uses oil X200. Oil is in Berlin's store.").names == {
        "orion",
        "x200",
        "berlin",
    }


def test_a_number_without_a_unit_matches_any_unit_but_not_the_other_way() -> None:
    assert len(facts("It is 90.").unsupported_by(facts("It is 90 °C."))) == 0
    assert len(facts("It is 90 bar.").unsupported_by(facts("It is 90 °C."))) == 1
    assert len(facts("It is 90 bar.").unsupported_by(facts("It is 90."))) == 0


def test_sentences_end_in_any_script() -> None:
    assert sentences("One. Two!\nThree 2.5 bar? 四。五") == [
        "One.",
        "Two!",
        "Three 2.5 bar?",
        "四。",
        "五",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Close the valve.", 0.0),
        ("Scunthorpe's class assessed the grass.", 0.0),
        ("This SHIT pump", 0.3),
        ("Schei\u00dfe!", 0.3),
        ("You\u2019re stupid", 0.6),
        ("shut up or I will kill you", 1.0),
        ("", 0.0),
    ],
)
def test_toxicity_is_the_worst_word_on_the_list(text: str, expected: float) -> None:
    assert toxicity(text) == expected
    assert bool(matches(text)) == (expected > 0)


def test_latency_by_nearest_rank() -> None:
    found = latency(float(value) for value in range(100, 0, -1))
    assert found is not None
    assert (found.mean, found.p50, found.p95, found.longest) == (50.5, 50.0, 95.0, 100.0)
    assert latency([]) is None
