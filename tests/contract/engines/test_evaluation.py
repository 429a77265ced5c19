"""The step finetune-evaluate through the real vLLM, with adapters of the tiny model.

One server for the module, started as the step starts it: three units on one base, where the step
has two.  What the step does with it, it does itself.
"""

from __future__ import annotations

import os
import signal
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from engine_evaluation import CONTEXT, peft_copy, texts, unit, verdict
from engine_models import vllm_cache
from engine_servers import ON_CPU
from engine_world import venv_of
from evaluate_step import GOLDEN, ITEMS, Run, trained_run
from tiny_adapter import Adapted, tiny_adapter, tiny_base

from nexus_api.release import ReleasableUnit
from nexus_evaluation.golden import GoldenItem
from nexus_pipelines.finetune.evaluate import cli
from nexus_pipelines.finetune.evaluate.engine import Served
from nexus_pipelines.finetune.evaluate.runtime import Runtime, serving

pytestmark = pytest.mark.timeout(1500)
LONG = GoldenItem(
    id="long", question="pump " * 2 * CONTEXT, references=("None.",), document="l.md", language="en"
)


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Adapted:
    root = tmp_path_factory.mktemp("tiny")
    return tiny_adapter(*tiny_base(root, heads=2, key_heads=1), root / "adapter")


@pytest.fixture(scope="module")
def served(
    adapted: Adapted, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Runtime]]:
    """Start vLLM by the step's own code with candidate, its copy elsewhere, and the base alone."""
    root = tmp_path_factory.mktemp("vllm")
    copy = peft_copy(adapted.adapter, root / "copy")
    units = {
        "candidate": Served(unit("vllm", adapted, adapted.adapter), str(adapted.adapter)),
        "copy": Served(unit("vllm", adapted, copy)),
        "base": Served(unit("vllm", adapted)),
    }
    program = root / "vllm"
    # Compiling takes minutes on a CPU.
    real = venv_of("vllm") / "bin" / "vllm"
    program.write_text(
        f'#!/bin/sh\nexport PATH="{real.parent}:$PATH"\nexec {real} "$@" --enforce-eager\n'
    )
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        told = {**ON_CPU, "VLLM_CACHE_ROOT": str(vllm_cache()), "NEXUS_VLLM": str(program)}
        for name, value in told.items():
            patch.setenv(name, value)
        cache = root / "cache"
        with serving(list(units.values()), cache=cache, threads=os.cpu_count() or 1) as runtimes:
            yield dict(zip(units, runtimes, strict=True))


@pytest.fixture
def step(
    served: dict[str, Runtime], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    """Have the step find the server started, and leave this process its signals."""

    @contextmanager
    def started(units: Sequence[Served], **_: object) -> Iterator[tuple[Runtime, ...]]:
        copied = units[-1].unit.adapted
        yield tuple(served[name] for name in ("candidate", "copy" if copied else "base"))

    monkeypatch.setattr(cli, "serving", started)
    monkeypatch.setenv("NEXUS_WORK_URL", f"file://{tmp_path}/work")
    monkeypatch.setenv("NEXUS_MODEL_CACHE", f"{tmp_path}/cache")
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def evaluate(run: Run, production: ReleasableUnit) -> None:
    cli.run(
        Namespace(
            namespace="default", job="tuned", uid="1", run="run-1", settings=run.settings, gpus=0,
            production=production.model_dump_json(by_alias=True),
            evaluation_out=str(run.root / "out.json"),
        )
    )  # fmt: skip


@pytest.mark.usefixtures("step")
def test_candidate_and_production_answer_through_vllm(adapted: Adapted, tmp_path: Path) -> None:
    run = trained_run(tmp_path, adapted)
    production = unit("vllm", adapted)
    evaluate(run, production)
    candidate = run.results("candidate")
    assert [one.id for one in candidate] == list(GOLDEN.ids)
    assert all(one.answer and one.latency_ms > 0 for one in candidate)
    assert texts(run, "candidate") != texts(run, "production")
    units = run.store.json("evaluate/units.json")
    assert units["candidate"]["engine"] == "vllm"
    assert (
        units["candidate"]["adapterDigest"] == unit("vllm", adapted, adapted.adapter).adapter_digest
    )
    assert not run.store.has("train/adapter/adapter.gguf")
    evaluation = run.store.json("evaluate/evaluation.json")
    assert evaluation["items"] == ITEMS
    assert evaluation["refused"] == {"candidate": {}, "production": {}}
    assert verdict(run) == verdict(run)


@pytest.mark.usefixtures("step")
def test_a_copy_of_production_answers_alike_and_stays_where_it_is(
    adapted: Adapted, tmp_path: Path
) -> None:
    run = trained_run(tmp_path, adapted)
    evaluate(run, unit("vllm", adapted, adapted.adapter))
    assert texts(run, "candidate") == texts(run, "production")
    assert verdict(run)["verdict"] not in {"Promote", "AskPerson"}
