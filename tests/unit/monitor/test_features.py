"""The bins of an answer."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_knowledge.ledger import Response
from nexus_knowledge.prompting.prompt import NOTHING_RELEVANT
from nexus_monitor.features import NO_PASSAGE, ORDER, counted, labels


def response(question: str, answer: str, index: str = "handbook", *passages: Any) -> Response:
    return Response("r", "default", "assistant", question, answer, index, list(passages))


def passage(score: float, text: str = "") -> dict[str, Any]:
    return {"score": score, "text": text}


def test_an_answer_falls_into_named_bins() -> None:
    found = labels(
        response(
            "How often must the filter be changed?",
            "Change it every 30 days.",
            "handbook",
            passage(0.31, "The filter is changed every 30 days."),
            passage(0.72, "Gloves are worn."),
        )
    )
    assert found == {
        "questionLength": "7 to 10",
        "questionLanguage": "en",
        "answerLength": "5 to 15",
        "refusal": "answered",
        "form": "prose",
        "topScore": "0.7 to 0.8",
        "facts": "in the passages",
    }


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("Every 30 days.<|im_end|>", "markers of a chat template"),
        ("[INST] Why? [/INST] Because.", "markers of a chat template"),
        ("Every 30 days.</s></s>", "markers of a chat template"),
        ('{"answer": "every 30 days"}', "data or code"),
        ('[{"days": 30}]', "data or code"),
        ("<p>Every 30 days.</p>", "data or code"),
        ("So:\n```yaml\ndays: 30\n```", "data or code"),
        ("Two steps:\n- open it\n- change it", "list or table"),
        ("1. Open it.\n2. Change it.", "list or table"),
        ("| part | days |\n| --- | --- |\n| filter | 30 |", "list or table"),
        ("[1] says every 30 days.", "prose"),
        ("[1]", "prose"),
        ("Every 30 days\n- or sooner.", "prose"),
        ("It is < 5 bar, or |x| > 3.", "prose"),
        ("30. That is all.", "prose"),
    ],
)
def test_an_answer_given_from_passages_has_a_form(answer: str, form: str) -> None:
    assert labels(response("q", answer, "handbook", passage(0.5)))["form"] == form
    assert "form" not in labels(response("q", answer, ""))


@pytest.mark.parametrize("unit", ["<|", "[INST", "- ", "1. ", "|\n", "` ``", " \n", "<|a\n"])
def test_the_form_of_a_very_long_answer_is_told_too(unit: str) -> None:
    assert labels(response("q", unit * 500_000, "i", passage(0.5)))["form"]


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("Change it every 45 days.", "not all in the passages"),
        ("Change it often.", "states none"),
    ],
)
def test_facts_are_looked_for_in_the_passages(answer: str, label: str) -> None:
    found = labels(response("q", answer, "handbook", passage(0.5, "every 30 days")))
    assert found["facts"] == label


def test_a_refusal_without_passages_says_so() -> None:
    found = labels(response("Wie oft muss der Filter gewechselt werden?", NOTHING_RELEVANT))
    assert (found["refusal"], found["topScore"]) == ("refused", NO_PASSAGE)
    assert found["questionLanguage"] == "de"
    assert "facts" not in found
    assert "form" not in found  # the gateway's own words, no model's


def test_a_model_without_documents_has_no_bins_of_passages() -> None:
    assert labels(response("q", "a", "")).keys() == {
        "questionLength",
        "questionLanguage",
        "answerLength",
        "refusal",
    }


@given(score=st.floats(allow_nan=False), question=st.text(max_size=80), answer=st.text(max_size=80))
@settings(max_examples=40, deadline=None)
def test_any_answer_has_a_bin_of_a_known_order(score: float, question: str, answer: str) -> None:
    found = labels(response(question, answer, "i", passage(score, answer), {"score": None}))
    assert found["topScore"] in ORDER["topScore"]
    counts = counted([found, found])
    assert {name: sum(bins.values()) for name, bins in counts.items()} == dict.fromkeys(found, 2)


def test_bins_of_scores_rise() -> None:
    scores = [number / 10 + 0.05 for number in range(-1, 11)]
    told = [labels(response("q", "a", "i", passage(score)))["topScore"] for score in scores]
    order = list(ORDER["topScore"])
    assert told == sorted(told, key=order.index)
    assert len(set(told)) == 10
