"""How the runtimes of an evaluation are started: what they are told, and how often."""

import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_api.release import ReleasableUnit
from nexus_api.servingmodel import ServingModel
from nexus_models import ModelFiles, ModelFormat
from nexus_operator.build import vllm as pod
from nexus_operator.settings import ResourceProfile, Settings
from nexus_pipelines.finetune.evaluate import llamacpp, triton, unit_files, vllm
from nexus_pipelines.finetune.evaluate.children import start
from nexus_pipelines.finetune.evaluate.engine import Place, Served
from nexus_pipelines.finetune.evaluate.engines import ENGINES, engine_of
from nexus_pipelines.finetune.evaluate.errors import AdapterUnreadable, EngineNotOffered
from nexus_pipelines.finetune.evaluate.runtime import Runtime
from nexus_pipelines.finetune.evaluate.sides import Sides

UNIT = ReleasableUnit(base="hf://org/base", engine="vllm", context_tokens=8192)
OTHERWISE = {"--served-model-name", "--host", "--port", "--max-num-seqs", "--shutdown-timeout"}
"""What an evaluation tells vLLM otherwise than a pod: who asks, how, and how many at once."""


def adapter(folder: Path, **told: Any) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4, **told}))
    return folder


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Place:
    """Have vLLM installed, and the weights of the base fetched."""
    program = tmp_path / "environment" / "bin" / "vllm"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("NEXUS_VLLM", str(program))
    server, asking = (program.with_name(name) for name in ("tritonserver", triton.ASKING))
    for one in (server, asking):
        one.symlink_to(program)
    monkeypatch.setenv("NEXUS_TRITONSERVER", str(server))
    monkeypatch.setattr(triton, "_asking", lambda: asking)
    files = ModelFiles(tmp_path / "weights", "0" * 64, ModelFormat.SAFETENSORS, ())
    monkeypatch.setattr(unit_files, "fetch", lambda *_, **__: files)
    return Place(
        name="unit-1", port=4711, inner_port=4712, cache=tmp_path, folder=tmp_path / "runtime",
        threads=2, gpus=2,
    )  # fmt: skip


def flags(arguments: Sequence[str]) -> dict[str, str]:
    """Return the flags that take one value."""
    return {
        name: value
        for name, value in pairwise(arguments)
        if name.startswith("--") and not value.startswith("--")
    }


def test_vllm_is_told_what_the_pod_that_serves_is_told(place: Place) -> None:
    manifest = {
        "metadata": {"name": "support", "namespace": "default"},
        "spec": {
            "model": {"uri": UNIT.base},
            "runtime": {"engine": "vllm", "contextTokens": UNIT.context_tokens, "slots": 64},
        },
    }
    profile = ResourceProfile(limits={"nvidia.com/gpu": "2"})
    model = ServingModel.model_validate(manifest)
    serves = flags(pod.runtime(model, Settings(), profile).container["args"])
    measures = flags(vllm.Vllm().launch([Served(UNIT)], place).programs[0].command)
    for name in OTHERWISE:
        serves.pop(name, None)
        measures.pop(name, None)
    assert measures == serves
    assert serves["--tensor-parallel-size"] == "2"


def test_both_sides_are_adapters_of_one_server(place: Place, tmp_path: Path) -> None:
    tuned = UNIT.model_copy(update={"adapter_digest": "1" * 64})
    units = [
        Served(tuned, str(adapter(tmp_path / "new", rank_pattern={"q_proj": 33}))),
        Served(UNIT),
        Served(tuned, str(adapter(tmp_path / "old"))),
    ]
    launch = vllm.Vllm().launch(units, place)
    assert launch.models == ("unit-1-0", "unit-1", "unit-1-2")
    (program,) = launch.programs
    assert flags(program.command)["--max-lora-rank"] == "64"
    assert program.command[-3:] == [
        "--lora-modules", f"unit-1-0={tmp_path}/new", f"unit-1-2={tmp_path}/old",
    ]  # fmt: skip
    alone = vllm.Vllm().launch([Served(UNIT)], place)
    assert "--enable-lora" not in alone.programs[0].command


@pytest.mark.parametrize("engine", ["vllm", "triton"])
def test_credentials_of_stores_are_kept_from_programs_that_are_not_ours(
    place: Place, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    for name in ("NEXUS_S3_SECRET_KEY", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "secret")
    programs = ENGINES[engine].launch([Served(UNIT)], place).programs
    for program in programs:
        assert "secret" not in program.environment.values()
    assert programs[0].environment["HF_HUB_OFFLINE"] == "1"


@given(rank=st.integers(1, 512), pattern=st.dictionaries(st.text(max_size=8), st.integers(1, 512)))
def test_the_largest_rank_counts(
    rank: int, pattern: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = adapter(tmp_path_factory.mktemp("a") / "a", r=rank, rank_pattern=pattern)
    assert unit_files.rank_of(folder) == max(rank, *pattern.values(), 0)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"r": null}', '{"r": 4, "rank_pattern": 3}'])
def test_an_adapter_without_a_rank_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(AdapterUnreadable, match="tells no rank"):
        unit_files.rank_of(tmp_path)


def test_what_went_wrong_is_found_in_a_long_log() -> None:
    frames = "\n".join(f'  File "x.py", line {number}' for number in range(400))
    log = f"WARNING OSError: [Errno 24] ...\n(EngineCore) ValueError: no such rank\n{frames}\n"
    log = log.replace("WARNING", "12:00 WARNING ")
    assert ENGINES["vllm"].words(log) == "ValueError: no such rank"


@pytest.mark.parametrize(
    "said", ["OSError: [Errno 98] Address already in use", "bind on ...: address already in use"]
)
def test_a_port_that_was_taken_meanwhile_is_no_refusal(said: str) -> None:
    assert not ENGINES["vllm"].refused(1, said)
    assert ENGINES["vllm"].refused(1, "ValueError: no such rank")


@pytest.mark.parametrize(("engine", "alone"), [("llamacpp", False), ("vllm", True)])
def test_what_kills_the_step_kills_its_runtime(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, *, alone: bool
) -> None:
    """A platform that is killed ends the groups of its pods; vLLM's own group is for `stop`."""
    monkeypatch.setattr(llamacpp, "_command", lambda: "sleep")
    (program,) = ENGINES[engine].launch([Served(UNIT)], place).programs
    child = start(replace(program, command=["sleep", "60"]), tmp_path / "log")
    try:
        assert (os.getpgid(child.process.pid) != os.getpgrp()) == alone
    finally:
        child.stop()
    assert child.ended == -signal.SIGTERM


def test_without_vllm_the_image_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXUS_VLLM", "/nowhere/vllm")
    with pytest.raises(EngineNotOffered, match=r"images\.evaluator"):
        vllm.Vllm().launch([Served(UNIT)], place)


@pytest.mark.parametrize(
    ("engine", "starts"), [("vllm", [2]), ("triton", [2]), ("llamacpp", [1, 1])]
)
def test_a_process_serves_both_sides_where_it_can(
    engine: str, starts: list[int], tmp_path: Path
) -> None:
    unit = UNIT.model_copy(update={"engine": engine})
    started: list[int] = []
    running: list[str] = []

    @contextmanager
    def serving(units: Sequence[Served]) -> Iterator[tuple[Any, ...]]:
        started.append(len(units))
        running.append(engine)
        yield tuple(
            Runtime("http://127.0.0.1:1", f"{len(started)}-{number}", engine_of(unit), ())
            for number in range(len(units))
        )
        running.pop()

    sides = {"candidate": Served(unit), "production": Served(unit)}
    with Sides(sides, serving) as both:
        assert started == []
        names = []
        for name in sides:
            with both.runtime(name) as runtime:
                names.append(runtime.model)
    assert started == starts
    assert len(set(names)) == 2
    assert running == []
