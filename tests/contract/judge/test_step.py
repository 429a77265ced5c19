"""The step finetune-evaluate with a judge: real ragas, the real runtime, a scripted judge."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from evaluate_step import GOLDEN, ITEMS, Run, ended, released, trained_run
from scripted_judge import Opinions, Reply, ScriptedJudge, chat, scripted_judge, two_of_three
from tiny_adapter import Adapted, tiny_adapter, tiny_base

from nexus_api.release import ReleasableUnit
from nexus_evaluation.results import ItemResult

pytestmark = pytest.mark.timeout(1800)
PASSAGES = GOLDEN.items[1].contexts
JUDGED = replace(
    GOLDEN, items=tuple(one.model_copy(update={"contexts": PASSAGES}) for one in GOLDEN.items)
)


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Adapted:
    root = tmp_path_factory.mktemp("tiny")
    return tiny_adapter(*tiny_base(root), root / "adapter")


@pytest.fixture
def run(adapted: Adapted, tmp_path: Path) -> Run:
    return trained_run(tmp_path, adapted, JUDGED).wanting(
        primaryMetric="faithfulness", metrics=["contextPrecision"]
    )


def said(one: ItemResult) -> bool:
    """Whether an answer has a word that a judge could be asked about."""
    return re.search(r"\w", one.answer) is not None


def named(judge: ScriptedJudge, python: Path) -> dict[str, str]:
    return {
        "NEXUS_JUDGE_URL": judge.url,
        "NEXUS_JUDGE_MODEL": "oracle",
        "NEXUS_JUDGE_PYTHON": str(python),
    }


def test_both_sides_are_judged_and_what_is_the_same_is_asked_once(
    adapted: Adapted, run: Run, ragas_python: Path
) -> None:
    with scripted_judge(Opinions(), two_of_three) as judge:
        out = run.evaluate(released(adapted, run.base), **named(judge, ragas_python))
    for side in ("candidate", "production"):
        assert out["metrics"]["contextPrecision"][side] == pytest.approx(1)
        for one in run.results(side):
            assert one.metrics["faithfulness"] == pytest.approx(2 / 3 if said(one) else 0)
    # A copy answers the same: for each item its answer twice, and its passage.
    stated = sum(map(said, run.results("candidate")))
    assert stated > 0
    assert len(judge.asked) == 2 * stated + ITEMS
    evaluation = run.store.json("evaluate/evaluation.json")
    assert evaluation["judge"] == {"url": judge.url, "model": "oracle"}


def test_a_judge_that_fails_ends_the_step_and_the_next_try_asks_only_the_judge(
    run: Run, ragas_python: Path
) -> None:
    with scripted_judge(Opinions(), lambda *_: Reply(503, "no GPU")) as judge:
        code, said = ended(run.start(**named(judge, ragas_python)))
    assert code == 75, said
    assert f"judge 'oracle' at {judge.url}" in said
    assert not run.store.has("evaluate/evaluation.json")
    assert not (run.root / "out.json").exists()
    assert not run.store.has("evaluate/done.json")
    with scripted_judge(Opinions(), lambda *_: chat("Yes, all of it.")) as judge:
        code, said = ended(run.start(**named(judge, ragas_python)))
    assert code == 1, said
    assert "stronger model" in said
    assert not run.store.has("evaluate/evaluation.json")
    answers = run.answers("candidate")
    with scripted_judge(Opinions(), two_of_three) as judge:
        out = run.evaluate(**named(judge, ragas_python))
    assert out["metrics"]["faithfulness"]["candidate"] > 0
    assert run.answers("candidate") == answers


@pytest.mark.parametrize(
    ("environ", "code", "complaint"),
    [
        ({}, 2, "NEXUS_JUDGE_URL and NEXUS_JUDGE_MODEL are not set"),
        (
            {"NEXUS_JUDGE_URL": "https://me:secret@judge/v1", "NEXUS_JUDGE_MODEL": "m"},
            2,
            "without user, password, query or fragment",
        ),
        (
            {"NEXUS_JUDGE_URL": "http://judge/v1", "NEXUS_JUDGE_MODEL": "m",
             "NEXUS_JUDGE_PYTHON": "/nowhere/python"},
            1,
            "make judge",
        ),
    ],
)  # fmt: skip
def test_without_a_judge_nothing_is_asked(
    run: Run, environ: dict[str, str], code: int, complaint: str
) -> None:
    found, said = ended(run.start(ReleasableUnit(base=run.base), **environ))
    assert found == code, said
    assert complaint in said
    assert "secret" not in said
    assert run.store.names("evaluate") == []


def test_items_without_passages_are_named(adapted: Adapted, tmp_path: Path) -> None:
    run = trained_run(tmp_path, adapted).wanting(primaryMetric="faithfulness")
    environ = {"NEXUS_JUDGE_URL": "http://judge/v1", "NEXUS_JUDGE_MODEL": "m"}
    code, said = ended(run.start(**environ))
    assert code == 1, said
    assert "2 items of the golden set have none ('item-0', 'item-2')" in said
