"""The step finetune-evaluate through the real tritonserver, asked as the gateway asks.

The backend is the stand-in of `triton_model.py`: it repeats the prompt, each word behind a mark
that the adapter's weights alone decide.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from engine_evaluation import CONTEXT, peft_copy, texts, unit, verdict
from engine_world import venv_of
from evaluate_step import GOLDEN, ITEMS, trained_run
from tiny_adapter import Adapted, tiny_adapter, tiny_base
from triton_server import mark, program
from waiting import eventually

from nexus_api.release import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from nexus_knowledge.errors import QuestionTooLong
from nexus_knowledge.prompting.lengths import estimate
from nexus_knowledge.prompting.messages import Messages
from nexus_pipelines.finetune.evaluate.asking import asker
from nexus_pipelines.finetune.evaluate.engine import Served
from nexus_pipelines.finetune.evaluate.errors import RuntimeDied, RuntimeRefused
from nexus_pipelines.finetune.evaluate.runtime import Runtime, serving
from nexus_pipelines.triton_repository.adapters import AdapterNotServed

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Adapted:
    root = tmp_path_factory.mktemp("tiny")
    return tiny_adapter(*tiny_base(root, heads=2, key_heads=1), root / "adapter")


@pytest.fixture(scope="module")
def other(adapted: Adapted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of another adapter of the same base."""
    root = tmp_path_factory.mktemp("other")
    made = tiny_adapter(adapted.model, adapted.base, root / "made", seed=8)
    return peft_copy(made.adapter, root / "adapter")


@pytest.fixture
def told(tmp_path: Path) -> dict[str, str]:
    """Have Triton installed; gives the variables of the step."""
    return {
        "NEXUS_TRITONSERVER": str(program(tmp_path, venv_of("triton"))),
        "JOURNAL": str(tmp_path / "journal"),
        "ANSWER": "echo",
        "PACE": "0",
    }


@pytest.fixture
def here(told: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it installed for this process."""
    for name, value in told.items():
        monkeypatch.setenv(name, value)


def generations(root: Path) -> int:
    """Return how many answers the stand-in has begun."""
    return (root / "journal").read_text().split().count("begun")


@contextmanager
def answering(*units: Served, root: Path) -> Iterator[tuple[Runtime, ...]]:
    """Start units as the step does; nothing of them is left."""
    with serving(units, cache=root / "cache", threads=1) as runtimes:
        children = [one.process.pid for one in runtimes[0].children]
        all_of_them = [
            process
            for pid in children
            for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))
        ]
        assert len(all_of_them) > len(children)  # Triton's backend is a process of its own
        yield runtimes
    eventually(lambda: all(map(gone, all_of_them)), what="the end of all processes")


def gone(process: psutil.Process) -> bool:
    """Tell whether a process has ended; who adopted it may not have taken note yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_candidate_and_production_answer_as_their_users_are_answered(
    adapted: Adapted,
    other: Path,
    told: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NEXUS_WORK_URL", f"file://{tmp_path}/work")  # for the gate
    run = trained_run(tmp_path, adapted)
    run.evaluate(unit("triton", adapted, other), **told)
    candidate = run.results("candidate")
    assert [one.id for one in candidate] == list(GOLDEN.ids)
    for side, folder in {"candidate": adapted.adapter, "production": other}.items():
        words = [text.removesuffix(" ").split(" ") for text in texts(run, side)]
        assert all(word.startswith(mark(folder)) for text in words for word in text)
    evaluation = run.store.json("evaluate/evaluation.json")
    assert evaluation["items"] == ITEMS
    assert evaluation["refused"] == {"candidate": {}, "production": {}}
    assert run.store.json("evaluate/units.json")["candidate"]["engine"] == "triton"
    assert not run.store.has("train/adapter/adapter.gguf")
    assert verdict(run) == verdict(run)


@pytest.mark.usefixtures("here")
def test_a_copy_of_production_answers_alike_and_the_base_otherwise(
    adapted: Adapted, other: Path, tmp_path: Path
) -> None:
    copy = peft_copy(other, tmp_path / "copy")
    units = (
        Served(unit("triton", adapted, other), str(other)),
        Served(unit("triton", adapted, copy)),
        Served(unit("triton", adapted)),
    )
    question: Messages = [
        {"role": "system", "content": "Answer briefly."},
        {"role": "user", "content": "Is it <|im_end|> so?"},
    ]
    with answering(*units, root=tmp_path) as runtimes:
        told = []
        for one, runtime in zip(units, runtimes, strict=True):
            with asker(one.unit, runtime) as ask:
                told.append(ask.answer(question).text)
                count = ask.counting(["a text that is counted"])
                with pytest.raises(QuestionTooLong):
                    ask.answer([{"role": "user", "content": "pump " * 2 * CONTEXT}])
    assert told[0] == told[1]
    # By the template of the weights, a user's marker broken up: what the gateway sends.
    prompt = (
        "<|im_start|>system\nAnswer briefly.<|im_end|>\n"
        "<|im_start|>user\nIs it < |im_end| > so?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert told[2].strip() == prompt.strip()
    assert told[0].partition(" ")[0] == mark(other) + prompt.partition(" ")[0]
    assert count("a text that is counted") == estimate("a text that is counted")


@pytest.mark.usefixtures("here")
def test_a_server_that_dies_amid_an_answer_is_told_of_in_its_words(
    adapted: Adapted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSWER", "count")
    endless = unit("triton", adapted).model_copy(update={"max_tokens": 1_000_000})
    with (
        answering(Served(endless), root=tmp_path) as (runtime,),
        asker(endless, runtime) as ask,
        ThreadPoolExecutor() as pool,
    ):
        begun = generations(tmp_path)
        answer = pool.submit(ask.answer, [{"role": "user", "content": "Hello"}])
        try:
            eventually(lambda: generations(tmp_path) > begun, what="an answer")
        finally:
            os.killpg(runtime.children[0].process.pid, signal.SIGKILL)
        with pytest.raises(RuntimeDied, match=r"exit -9\): .*Started GRPCInferenceService"):
            answer.result(180)


@pytest.mark.usefixtures("here")
def test_an_adapter_that_the_backend_cannot_open_is_refused_before_it_is_asked(
    adapted: Adapted, other: Path, tmp_path: Path
) -> None:
    """Its head is whole, so nothing but opening it shows the damage."""
    damaged = peft_copy(other, tmp_path / "damaged")
    weights = damaged / ADAPTER_WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-4])
    served = Served(unit("triton", adapted, damaged), str(damaged))
    with (
        pytest.raises(RuntimeRefused, match="file not fully covered"),
        answering(served, root=tmp_path),
    ):
        pass


@pytest.mark.usefixtures("here")
def test_an_adapter_of_another_base_is_refused_by_its_name(
    adapted: Adapted, other: Path, tmp_path: Path
) -> None:
    changed = peft_copy(other, tmp_path / "changed")
    config = json.loads((changed / ADAPTER_CONFIG).read_text())
    (changed / ADAPTER_CONFIG).write_text(json.dumps({**config, "use_dora": True}))
    served = Served(unit("triton", adapted, changed), str(changed))
    with (
        pytest.raises(AdapterNotServed, match="side-0: use_dora"),
        answering(served, root=tmp_path),
    ):
        pass
