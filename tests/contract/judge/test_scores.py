"""Faithfulness and context precision by the real ragas, from a judge whose opinions are known."""

import json
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest
from ports import free_port
from scripted_judge import Asked, Fault, Opinions, Reply, ScriptedJudge, chat, scripted_judge

from nexus_pipelines.finetune.judge.access import Judge
from nexus_pipelines.finetune.judge.errors import (
    JudgeDown,
    JudgeNonsense,
    JudgeNotInstalled,
    JudgeRefused,
)
from nexus_pipelines.finetune.judge.process import PYTHON, judging

pytestmark = pytest.mark.timeout(1800)
KEY = "sk-very-secret"
SUPPORTED = {
    "all": [("A is so.", True), ("B is so.", True)],
    "two of three": [("C is so.", True), ("D is so.", False), ("E is so.", True)],
    "none": [("F is so.", False)],
}
PASSAGES = {"of use": True, "of no use": False, "of use too": True}
OPINIONS = Opinions(SUPPORTED, PASSAGES)


@pytest.fixture(autouse=True)
def _own_python(ragas_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PYTHON, str(ragas_python))


def faithfulness(answer: str) -> Asked:
    return {
        "id": answer,
        "item": f"item of {answer}",
        "metric": "faithfulness",
        "question": "What is so?",
        "answer": answer,
        "contexts": ["of use"],
    }


def precision(*contexts: str) -> Asked:
    return {
        "id": ", ".join(contexts),
        "item": "passages",
        "metric": "contextPrecision",
        "question": "What is so?",
        "reference": "It is so.",
        "contexts": contexts,
    }


def graded(metric: str, answer: str) -> Asked:
    return {**faithfulness(answer), "id": f"{metric} of {answer}", "metric": metric}


def scored(judge: ScriptedJudge, *cases: Asked, seconds: int = 60) -> dict[str, float]:
    named = Judge(judge.url, "oracle", KEY, seconds)
    with judging(named, cases) as found:
        return {one.id: one.score for one in found}


def fenced(_: int, asked: Asked) -> Reply | None:
    """Put Markdown's fence around some answers, as many models do."""
    return chat(f"```json\n{OPINIONS.answer(asked)}\n```") if "answer" in asked else None


def test_scores_are_what_the_verdicts_say(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # Whatever speaks to anybody else than the judge would go through here.
    with scripted_judge(OPINIONS) as elsewhere, scripted_judge(OPINIONS, fenced) as judge:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, elsewhere.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1")
        found = scored(
            judge,
            *map(faithfulness, SUPPORTED),
            precision("of use", "of no use"),
            precision("of no use", "of use"),
            precision(*PASSAGES),
            precision("of no use"),
        )
        assert elsewhere.asked == []
    expected = {
        "all": 1.0,
        "two of three": 2 / 3,
        "none": 0.0,
        "of use, of no use": 1.0,
        "of no use, of use": 1 / 2,
        "of use, of no use, of use too": (1 + 2 / 3) / 2,
        "of no use": 0.0,
    }
    assert found == pytest.approx(expected, abs=1e-6)
    assert {one["Authorization"] for one in judge.headers} == {f"Bearer {KEY}"}
    assert {(one["model"], one["temperature"]) for one in judge.bodies} == {("oracle", 0)}
    assert {one["response_format"]["type"] for one in judge.bodies} == {"json_schema"}
    assert KEY not in "".join(capfd.readouterr())


def test_grades_are_shares_of_the_way_from_the_worst_to_the_best() -> None:
    grades = {"A mess.": 1, "It will do.": 4, "To the point.": 5}
    metrics = ("coherence", "conciseness", "fluency")
    with scripted_judge(Opinions(grades=grades)) as judge:
        found = scored(judge, *(graded(one, answer) for one in metrics for answer in grades))
    share = {"A mess.": 0.0, "It will do.": 0.75, "To the point.": 1.0}
    assert found == {f"{one} of {answer}": share[answer] for one in metrics for answer in grades}
    prompts = [body["messages"][0]["content"] for body in judge.bodies]
    for words in ("has no thread", "repetition, filler", "no language"):
        assert sum(words in prompt for prompt in prompts) == len(grades)


@pytest.mark.parametrize("grade", [0, 6, 4.5, "good"])
def test_a_grade_beyond_1_to_5_is_asked_again(grade: object) -> None:
    wrong = first(chat(json.dumps({"feedback": "?", "score": grade})))
    with scripted_judge(Opinions(grades={"It will do.": 4}), wrong) as judge:
        assert scored(judge, graded("fluency", "It will do.")) == {"fluency of It will do.": 0.75}
    assert len(judge.asked) == 2


def first(reply: Reply, when: Callable[[Asked], bool] = lambda _: True) -> Fault:
    """Answer so for the first time that something is asked."""
    return lambda times, asked: reply if times == 0 and when(asked) else None


def verdicts(*values: object) -> Reply:
    told = [{"statement": "?", "reason": "?", "verdict": value} for value in values]
    return chat(json.dumps({"statements": told}))


def of_verdicts(asked: Asked) -> bool:
    return "statements" in asked


PASSING = {
    "an error of its own": first(Reply(500, "out of memory")),
    "too many at once": first(Reply(429, "slow down")),
    "a connection that breaks": first(Reply(0, "")),
    "words instead of JSON": first(chat("Sure! The answer is faithful.")),
    "no body": first(Reply(200, "")),
    "another form": first(Reply(200, '{"choices": []}')),
    "another schema": first(chat('{"verdicts": [1]}')),
    "an answer that is cut off": first(chat('{"statements": ["A', finish_reason="length")),
    "no statements": first(chat('{"statements": []}'), lambda asked: "answer" in asked),
    "fewer verdicts than statements": first(verdicts(1), of_verdicts),
    "a verdict beyond 1": first(verdicts(7, 1), of_verdicts),
}


def test_what_goes_wrong_once_is_asked_again_and_leaves_no_trace_in_the_scores() -> None:
    answers = {name: [(f"{name}, first.", True), (f"{name}, second.", False)] for name in PASSING}

    def fault(times: int, asked: Asked) -> Reply | None:
        told = asked.get("answer") or asked["statements"][0].removesuffix(", first.")
        return PASSING[told](times, asked)

    with scripted_judge(Opinions(answers), fault) as judge:
        found = scored(judge, *map(faithfulness, answers))
    assert found == dict.fromkeys(answers, 0.5)


LASTING: dict[str, tuple[Fault, type[Exception], str]] = {
    "errors": (lambda *_: Reply(503, "no GPU"), JudgeDown, "503: 'no GPU'"),
    "no answer": (lambda *_: Reply(-1, ""), JudgeDown, "ReadTimeout"),
    "another key": (lambda *_: Reply(401, "bad key"), JudgeRefused, "NEXUS_JUDGE_API_KEY"),
    "words": (lambda *_: chat("Yes."), JudgeNonsense, "stronger model"),
    "too few verdicts": (
        lambda _, asked: verdicts(1) if of_verdicts(asked) else None,
        JudgeNonsense,
        "1 verdicts on 3 statements",
    ),
}


@pytest.mark.parametrize("name", LASTING)
def test_what_stays_wrong_ends_it_and_says_which_judge_and_what_to_do(name: str) -> None:
    fault, kind, words = LASTING[name]
    with scripted_judge(OPINIONS, fault) as judge:
        cases = [faithfulness("two of three")] * 6
        with pytest.raises(kind) as caught:
            scored(judge, *cases, seconds=1 if name == "no answer" else 60)
    said = str(caught.value)
    assert words in said
    assert f"judge 'oracle' at {judge.url}" in said
    assert "faithfulness of item 'item of two of three'" in said
    assert KEY not in said
    if kind is JudgeRefused:
        assert len(judge.asked) <= len(cases)  # none is asked twice


def test_nobody_at_the_address() -> None:
    nobody = ScriptedJudge(f"http://127.0.0.1:{free_port()}/v1", OPINIONS)
    with pytest.raises(JudgeDown, match="ConnectError"):
        scored(nobody, faithfulness("all"))


def test_scores_that_are_known_come_before_the_failure() -> None:
    told = Event()

    def fault(_: int, asked: Asked) -> Reply | None:
        if asked.get("answer") != "none":
            return None
        assert told.wait(60)
        return Reply(400, "no")

    with scripted_judge(OPINIONS, fault) as judge:
        cases = [precision("of use"), faithfulness("none")]
        with judging(Judge(judge.url, "oracle"), cases) as found:
            assert next(found).id == "of use"
            told.set()
            with pytest.raises(JudgeRefused, match="item 'item of none'"):
                next(found)


def test_without_ragas_the_message_has_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PYTHON, "/nowhere/python")
    with (
        pytest.raises(JudgeNotInstalled, match="make judge"),
        judging(Judge("http://x/v1", "y"), []),
    ):
        pass
