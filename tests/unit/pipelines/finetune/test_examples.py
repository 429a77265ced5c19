"""Rows of training files: what is understood, and that nothing breaks the reader."""

import io
import json
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_pipelines.finetune.select.examples import (
    Example,
    Malformed,
    Origin,
    Source,
    from_row,
    to_row,
)
from nexus_pipelines.finetune.select.files import bounded_lines
from nexus_pipelines.finetune.select.poison import RULES, poisoned
from nexus_pipelines.finetune.select.prompts import Asking, Passage, prompt, taken_apart
from nexus_pipelines.finetune.select.rows import LONGEST_LINE, GoldenRow, parse_row

ORIGIN = Origin("object", "team/job/a.jsonl", "e1", 7)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
KNOWN = st.sampled_from(
    ["messages", "prompt", "completion", "question", "answer", "context", "document", "createdAt",
     "language", "topic", "role", "content"]
)  # fmt: skip

VALUES = (
    st.text(max_size=9)
    | st.none()
    | st.integers()
    | st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system", 3]),
                                      "content": st.text(max_size=5), "text": st.text(max_size=5)}))
)  # fmt: skip


def parsed(row: Any) -> Example:
    return parse_row(json.dumps(row).encode(), Source.FILES, ORIGIN, Asking())


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Q?", "answer": "A.", "context": ["a"] * 257},
        {"question": "Q?", "answer": "A.", "context": ["a"] * 1_000_000},
        {"messages": [{"role": "x" * 100_000, "content": "Q?"}]},
        {"x" * 100_000: 1, "y" * 100_000: 2},
        {"question": "Q?", "answer": "A.", "document": "d" * 1025},
    ],
    ids=["passages", "a million passages", "role", "keys", "document"],
)
def test_a_row_beyond_all_bounds_is_refused_at_once_and_in_few_words(row: Any) -> None:
    began = time.process_time()
    with pytest.raises(Malformed) as refused:
        parsed(row)
    assert len(str(refused.value)) <= 400
    assert time.process_time() - began < 5


@pytest.mark.parametrize("language", ["{", "{0.__class__}", "en\u202e", "a b", "x" * 20])
def test_a_language_that_is_no_tag_is_not_known(language: str) -> None:
    assert parsed({"question": "Q?", "answer": "A.", "language": language}).language == ""


def test_a_language_is_a_tag() -> None:
    assert parsed({"question": "Q?", "answer": "A.", "language": " pt-BR "}).language == "pt-BR"


def test_the_three_forms_say_the_same() -> None:
    chat = parsed(
        {"messages": [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "A."}]}
    )
    asked = parsed({"prompt": " Q? ", "completion": "A."})
    assert asked == parsed({"question": "Q?", "answer": "A.", "context": None, "extra": 1})
    assert asked == replace(chat, composed=True)
    assert [message.role for message in chat.messages] == ["user", "assistant"]


@pytest.mark.parametrize(
    ("context", "passages"),
    [
        ("One.", [("d.md", "One.")]),
        (["One.", "Two."], [("d.md", "One."), ("d.md", "Two.")]),
        ([{"document": "x.md", "text": "One."}, {"text": "Two."}],
         [("x.md", "One."), ("d.md", "Two.")]),
    ],
)  # fmt: skip
def test_context_is_text_or_texts_or_passages(
    context: Any, passages: list[tuple[str, str]]
) -> None:
    row = {"question": "Q?", "answer": "A.", "context": context, "document": "d.md"}
    one = parsed(row)
    assert list(one.passages) == [Passage(*passage) for passage in passages]
    assert one.messages[0].role == "system"
    assert one.messages[-2].content.endswith("Question: Q?")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([], "NotAnObject"),
        ({}, "UnknownForm"),
        ({"question": "Q?"}, "UnknownForm"),
        ({"question": "Q?", "answer": ""}, "EmptyText"),
        ({"question": "Q?", "answer": 4}, "BadField"),
        ({"question": "Q?", "answer": "\ud800"}, "BadUnicode"),
        ({"question": "Q?", "answer": "A", "document": 3}, "BadField"),
        ({"question": "Q?", "answer": "A", "createdAt": "yesterday"}, "BadField"),
        ({"question": "Q?", "answer": "A", "context": [4]}, "BadField"),
        ({"question": "w " * 4000, "answer": "A", "context": "c"}, "QuestionTooLong"),
        ({"messages": "hi"}, "BadMessages"),
        ({"messages": []}, "BadMessages"),
        ({"messages": [{"role": "assistant", "content": "A"}]}, "BadMessages"),
        ({"messages": [{"role": "user", "content": "A"}]}, "BadMessages"),
        ({"messages": [{"role": "user", "content": "A"}, {"role": "tool", "content": "B"}]},
         "BadMessages"),
        ({"messages": [{"role": "system", "content": "S"},
                       {"role": "assistant", "content": "B"}]}, "BadMessages"),
    ],
)  # fmt: skip
def test_malformed_rows_say_why(row: Any, reason: str) -> None:
    with pytest.raises(Malformed) as caught:
        parsed(row)
    assert caught.value.reason == reason
    assert str(caught.value)


def test_deep_nesting_and_other_encodings_are_malformed() -> None:
    with pytest.raises(Malformed):
        parse_row(b"[" * 100_000, Source.FILES, ORIGIN, Asking())
    with pytest.raises(Malformed):
        parse_row("Prüfung".encode("latin-1"), Source.FILES, ORIGIN, Asking())


@pytest.mark.parametrize("row", [{"goldenSet": "g"}, {"question": "q", "references": ["a"]}])
def test_rows_of_golden_sets_are_told_apart(row: Any) -> None:
    with pytest.raises(GoldenRow, match=r"a\.jsonl, line 7 is of a golden set"):
        parsed(row)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80) | JSON.map(json.dumps).map(str.encode))
def test_whatever_a_line_holds_it_is_an_example_or_malformed(line: bytes) -> None:
    try:
        one = parse_row(line, Source.FILES, ORIGIN, Asking())
    except (Malformed, GoldenRow):
        return
    assert from_row(json.loads(json.dumps(to_row(one)))) == one


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(KNOWN, VALUES, max_size=5))
def test_known_fields_with_any_values_never_break_the_reader(row: dict[str, Any]) -> None:
    try:
        one = parsed(row)
    except (Malformed, GoldenRow):
        return
    assert one.answer.strip()
    assert one.question.strip()
    assert from_row(json.loads(json.dumps(to_row(one)))) == one


def test_times_are_brought_to_one_form() -> None:
    row = {"question": "Q?", "answer": "A.", "createdAt": "2026-05-01T10:00:00+02:00"}
    assert parsed(row).created_at == "2026-05-01T08:00:00.000000Z"


@given(st.lists(st.binary(max_size=9).filter(lambda one: b"\n" not in one), max_size=6))
def test_lines_are_split_at_newlines_alone(parts: list[bytes]) -> None:
    found = list(bounded_lines(io.BytesIO(b"".join(part + b"\n" for part in parts))))
    assert found == [part.rstrip(b"\r") for part in parts]


def test_a_line_without_end_costs_no_memory_and_spoils_no_other() -> None:
    data = b"1\n" + b"x" * (2 * LONGEST_LINE + 5) + b"\n2\n" + b"y" * (LONGEST_LINE + 1)
    assert list(bounded_lines(io.BytesIO(data))) == [b"1", None, b"2", None]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("ok <|im_start|>system", "RoleTokens"),
        ("[INST] obey [/INST]", "RoleTokens"),
        ("a </s> b", "RoleTokens"),
        ("a <start_of_turn>model", "RoleTokens"),
        ("bell \x07", "ControlCharacters"),
        ("tags \U000e0041\U000e0042", "HiddenCharacters"),
        ("zero\u200b\u200b\u200bwidth", "HiddenCharacters"),
        ("right\u202eleft", "HiddenCharacters"),
        ("QUJD" * 60, "EncodedBlob"),
        ("a" * 201, "EncodedBlob"),
        ("!" * 201, "Repetition"),
        ("word " * 20_000, "AbsurdLength"),
    ],
)
def test_poison_is_named(text: str, rule: str) -> None:
    assert poisoned(parsed({"question": "Q?", "answer": text})) == rule
    assert poisoned(parsed({"question": text[:4000], "answer": "A"})) in {rule, ""}


@pytest.mark.parametrize(
    "text",
    [
        "Press <Enter> | see [1] and table 3 < 4",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "Familie: \U0001f468\u200d\U0001f469\u200d\U0001f467",
        "line one\nline two\ttabbed",
        "https://example.org/a/very/long/path/that/goes/on-and-on/with/parts/and/more/parts?x=1",
        "=" * 80,
    ],
)
def test_honest_text_is_left_alone(text: str) -> None:
    assert poisoned(parsed({"question": text, "answer": text})) == ""


def test_every_rule_has_a_name_of_one_word() -> None:
    assert all(name.isalpha() and name[0].isupper() for name in RULES)


WORDS = st.text("abcdefg .?:1", min_size=1, max_size=30).filter(str.strip).map(str.strip)


@settings(max_examples=150, deadline=None)
@given(WORDS, st.lists(WORDS, max_size=4, unique=True))
def test_a_prompt_of_ours_is_taken_apart_again(question: str, texts: list[str]) -> None:
    passages = tuple(Passage("d", " ".join(text.split())) for text in texts)
    *_, (role, content) = prompt(question, passages, Asking())
    assert role == "user"
    assert taken_apart(content, "d") == (question, passages)


@settings(max_examples=150, deadline=None)
@given(st.text("[1] 2\nQuestion:ab", max_size=60))
def test_any_other_message_is_a_question_as_a_whole(content: str) -> None:
    question, passages = taken_apart(content, "d")
    assert passages or question == content
    assert all(one.text in content for one in passages)


def test_a_conversation_from_the_log_is_known_by_what_was_asked() -> None:
    content = "[2] Two.\n\n[1] One.\n\nOne.\n\nQuestion: Which?"
    turns = [{"role": "user", "content": content}, {"role": "assistant", "content": "A."}]
    one = parsed({"messages": turns, "document": "d.md"})
    assert one.question == "Which?"
    assert one.passages == (Passage("d.md", "One."), Passage("d.md", "Two."))
    assert one.messages[0].content == content
