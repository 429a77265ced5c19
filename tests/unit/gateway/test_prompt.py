"""The prompt of a grounded answer: within its budget, best passages first, nothing said twice."""

from __future__ import annotations

import pytest
from gateway_scripted import hit
from hypothesis import given
from hypothesis import strategies as st

from nexus_gateway.chat.question import messages_of, question_of
from nexus_knowledge.errors import QuestionTooLong
from nexus_knowledge.prompting.focus import key_sentences
from nexus_knowledge.prompting.messages import text_of
from nexus_knowledge.prompting.prompt import MESSAGE_TOKENS, SYSTEM, build, texts_to_count

QUESTION = {"role": "user", "content": "When is the pump tested?"}


def words(text: str) -> int:
    return len(text.split())


def asked(*messages: dict[str, object]) -> object:
    return question_of(messages_of({"messages": list(messages) or [QUESTION]}))


def test_passages_are_numbered_and_the_best_stands_before_the_question() -> None:
    prompt = build(asked(), [hit("One."), hit("Two.", 2)], system=None, budget=900, count=words)
    system, user = prompt.messages
    assert system == {"role": "system", "content": SYSTEM}
    text = user["content"]
    assert text.index("[2] Chapter 2: Two.") < text.index("[1] Chapter 1: One.")
    assert text.rstrip().endswith("When is the pump tested?")


def test_system_text_of_resource_and_client_both_count() -> None:
    messages = [{"role": "system", "content": "Answer in German."}, QUESTION]
    prompt = build(asked(*messages), [hit("One.")], system="Be brief.", budget=900, count=words)
    assert prompt.messages[0]["content"] == "Be brief.\nAnswer in German."
    assert [m["role"] for m in prompt.messages] == ["system", "user"]


def test_overlap_of_neighbours_is_shown_once() -> None:
    first = hit("alpha beta gamma ", start=0, end=17)
    second = hit("gamma delta", start=11, end=22)
    prompt = build(asked(), [first, second], system=None, budget=900, count=words)
    assert prompt.messages[-1]["content"].count("gamma") == 1
    assert prompt.passages[1].hit.text == "gamma delta"


def test_long_first_passage_is_cut_not_left_out() -> None:
    prompt = build(asked(), [hit("word " * 500)], system=None, budget=150, count=words)
    assert len(prompt.passages) == 1
    assert 20 < words(prompt.passages[0].shown) < 150
    assert prompt.passages[0].hit.text == "word " * 500


def test_question_that_alone_is_too_long_is_refused() -> None:
    long = {"role": "user", "content": "why " * 400}
    with pytest.raises(QuestionTooLong, match="300"):
        build(asked(long), [hit("One.")], system=None, budget=300, count=words)


def test_earlier_turns_go_in_when_they_fit_newest_first() -> None:
    turns = [
        {"role": "user", "content": "old " * 80},
        {"role": "assistant", "content": "older answer"},
        {"role": "user", "content": "What is P1?"},
        {"role": "assistant", "content": "A pump."},
    ]
    prompt = build(asked(*turns, QUESTION), [hit("One.")], system=None, budget=300, count=words)
    roles = [m["role"] for m in prompt.messages]
    assert roles == ["system", "user", "assistant", "user"]
    assert prompt.messages[1]["content"] == "What is P1?"


def test_images_stay_beside_the_text() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    parts = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}
    prompt = build(asked(parts), [hit("One.")], system=None, budget=900, count=words)
    assert prompt.messages[-1]["content"][0] == image
    assert "What is this?" in text_of(prompt.messages[-1])


def test_short_follow_up_searches_with_the_question_before() -> None:
    turns = [QUESTION, {"role": "assistant", "content": "Mondays."}]
    follow_up = asked(*turns, {"role": "user", "content": "And how long?"})
    assert follow_up.query == "When is the pump tested?\nAnd how long?"
    full = asked(*turns, {"role": "user", "content": "How long does a backwash take?"})
    assert full.query == "How long does a backwash take?"


@given(
    st.lists(st.text(st.characters(codec="utf-8"), max_size=400), max_size=8),
    st.integers(120, 600),
)
def test_prompt_never_exceeds_its_budget(texts: list[str], budget: int) -> None:
    hits = [hit(text, n, start=n * 1000, end=n * 1000 + len(text)) for n, text in enumerate(texts)]
    prompt = build(asked(), hits, system=None, budget=budget, count=words)
    total = sum(words(text_of(m)) + MESSAGE_TOKENS for m in prompt.messages)
    assert total <= budget
    assert [p.number for p in prompt.passages] == list(range(1, len(prompt.passages) + 1))


@given(st.lists(st.text(max_size=60), max_size=5))
def test_every_length_is_known_before_the_prompt_is_built(texts: list[str]) -> None:
    hits = [hit(text, n + 1, start=n * 99, end=n * 99 + len(text)) for n, text in enumerate(texts)]
    known = {*texts_to_count(asked(), hits, system=None)}
    missed: list[str] = []

    def count(text: str) -> int:
        if text not in known:
            missed.append(text)
        return words(text)

    build(asked(), hits, system=None, budget=2000, count=count)
    assert missed == []


def test_sentence_that_says_most_stands_right_before_the_question() -> None:
    passage = "Filters are washed in April. The pump is tested on Monday. Tours are on Friday."
    prompt = build(asked(), [hit(passage)], system=None, budget=900, count=words)
    text = prompt.messages[-1]["content"]
    assert text.endswith("\n\nThe pump is tested on Monday.\n\nQuestion: When is the pump tested?")


@given(st.text(max_size=80), st.lists(st.text(max_size=200), max_size=4))
def test_key_sentences_are_taken_from_the_passages(question: str, passages: list[str]) -> None:
    for sentence in key_sentences(question, passages):
        assert any(sentence in passage for passage in passages)
