"""Which hits are shown to the model: near in meaning, or holding the question's own words."""

from __future__ import annotations

import pytest
from gateway_scripted import hit
from hypothesis import given
from hypothesis import strategies as st

from nexus_gateway.chat.relevance import naming_words, relevant

ASKED = "Who may allow the outflow again?"
GUIDE = "Only the plant manager, Tomas Veidt, may allow the outflow again."


def texts(question: str, *hits: object) -> list[str]:
    return [found.text for found in relevant(question, list(hits), 0.25)]


def test_what_is_far_behind_the_best_is_left_out() -> None:
    hits = [hit("a", 1, score=0.9), hit("b", 2, score=0.5), hit("c", 3, score=0.4)]
    far = hit("d", 4, score=0.8, dense_score=0.1)
    assert texts("When is it?", *hits, far) == ["a", "b"]
    assert texts("When is it?", far) == []


def test_bm25_knows_no_cosine_and_is_taken_as_it_is() -> None:
    assert texts("When is it?", hit("x", dense_score=None, score=3.0)) == ["x"]


def test_a_passage_with_the_words_of_the_question_is_relevant_below_the_threshold() -> None:
    assert texts(ASKED, hit(GUIDE, dense_score=0.24)) == [GUIDE]
    assert texts(ASKED, hit("Stop the outflow and wait.", dense_score=0.24)) == []


def test_words_do_not_count_where_the_meaning_is_far_off() -> None:
    assert texts(ASKED, hit(GUIDE, dense_score=0.12)) == []


def test_one_word_alone_is_found_anywhere() -> None:
    assert texts("What is the plant?", hit("The plant works.", dense_score=0.2)) == []


@pytest.mark.parametrize(
    "question",
    [
        "What is the salary of the plant manager?",
        "What is the plant manager paid for the outflow in Lisbon?",
        "",
    ],
)
def test_words_that_the_passage_lacks_count_against_it(question: str) -> None:
    assert texts(question, hit(GUIDE, dense_score=0.2)) == []


def test_a_heading_counts_as_text_of_its_passage() -> None:
    found = hit("It is tested on Monday.", dense_score=0.2, section="Standby pump")
    assert texts("When is the standby pump tested?", found) == [found.text]


def test_words_that_only_ask_name_nothing() -> None:
    assert naming_words("How long does it take?") == {"take"}
    assert naming_words("Wer darf den Abfluss öffnen?") >= {"abflu", "offne"}


@given(st.text(max_size=80), st.lists(st.floats(-1, 1), max_size=6))
def test_only_hits_come_back_in_their_order(question: str, cosines: list[float]) -> None:
    hits = [hit(f"text {n}", n, dense_score=cosine) for n, cosine in enumerate(cosines)]
    kept = relevant(question, hits, 0.25)
    assert kept == [one for one in hits if one in kept]
    assert all(one in kept for one in hits if (one.dense_score or 0) >= 0.25)
