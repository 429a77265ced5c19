"""`support` and `facts` within finetune-evaluate: the real MiniLM embedder, the real runtime."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from embedder_process import embedder_process
from evaluate_step import GOLDEN, ITEMS, NUMBERED, Run, ended, trained_run
from ports import HOST, free_port
from tiny_adapter import tiny_adapter, tiny_base

from nexus_pipelines.cli import run as step

pytestmark = pytest.mark.timeout(600)
# Every item on the same passage: "The pump is checked every 12 weeks by the operator."
CARRYING = replace(
    GOLDEN,
    items=tuple(
        one.model_copy(update={"contexts": (NUMBERED,), "facts": (12, "weeks")})
        for one in GOLDEN.items
    ),
)
SAID = {
    "item-0": NUMBERED.text,
    "item-1": "Cheese is made of milk from cows and goats.",
    "item-2": NUMBERED.text.replace("12", "30"),
    "item-3": "",
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    adapted = tiny_adapter(*tiny_base(tmp_path), tmp_path / "adapter")
    return trained_run(tmp_path, adapted, CARRYING).wanting(
        primaryMetric="support", metrics=["facts"], floors=[{"metric": "support", "min": "0.1"}]
    )


def answer(run: Run, said: dict[str, str]) -> None:
    """Put these in the place of what the model said, where the step keeps its answers."""
    for name in run.store.names("evaluate/answers"):
        rows: list[dict[str, Any]] = list(run.store.lines(f"evaluate/answers/{name}"))
        changed = [{**row, "answer": said.get(row["id"], row["answer"])} for row in rows]
        run.store.delete(f"evaluate/answers/{name}")
        run.store.put_lines(f"evaluate/answers/{name}", changed)


def test_an_embedder_that_is_away_promotes_nothing_and_one_that_is_there_tells_texts_apart(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with embedder_process(tmp_path) as (
        url,
        ready,
    ):  # it loads its model while the first try goes on
        nowhere = f"http://{HOST}:{free_port()}"
        code, told = ended(run.start(NEXUS_EMBEDDER_URL=nowhere))
        assert code == 75, told
        assert f"the embedder at {nowhere} gave no vectors" in told
        kept = run.store.names("evaluate")
        assert kept  # the next try need not ask again
        assert all(name.startswith("answers/") for name in kept)
        assert not (run.root / "out.json").exists()
        assert gate(run, monkeypatch) != 0
        assert run.store.names("gate") == []

        answer(run, SAID)
        ready()
        # With a runtime that cannot be started: nothing is asked again.
        out = run.evaluate(NEXUS_EMBEDDER_URL=url, PATH="/nowhere")
    scores = {one.id: one.metrics["support"] for one in run.results("candidate")}
    assert all(0.0 <= score <= 1.0 for score in scores.values())
    assert {one.id: one.answer for one in run.results("candidate")} == SAID
    assert scores["item-0"] == pytest.approx(1.0, abs=1e-3)
    assert scores["item-1"] < 0.5
    assert scores["item-2"] < scores["item-0"]  # near in words, another number
    assert scores["item-3"] == 0.0
    held = {one.id: one.metrics["facts"] for one in run.results("candidate")}
    assert held == {"item-0": 1.0, "item-1": 0.0, "item-2": 0.5, "item-3": 0.0}
    assert out["metrics"]["support"]["candidate"] == pytest.approx(sum(scores.values()) / ITEMS)


def gate(run: Run, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the exit code of the step that would decide."""
    monkeypatch.setenv("NEXUS_WORK_URL", f"file://{run.root}/work")
    return step(
        ["finetune-gate", "--namespace=default", "--job=tuned", "--uid=1", "--run=run-1",
         f"--settings={run.settings}", f"--decision-out={run.root}/decision.json"]
    )  # fmt: skip
