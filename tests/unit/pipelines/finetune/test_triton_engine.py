"""How Triton is started for an evaluation, and what its ends mean."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nexus_api.release import ReleasableUnit
from nexus_api.servingmodel import ServingModel
from nexus_api.triton_repository import CONFIG
from nexus_models import ModelFiles, ModelFormat
from nexus_operator.build import triton as pod
from nexus_operator.settings import ResourceProfile, Settings
from nexus_pipelines.finetune.evaluate import triton, unit_files
from nexus_pipelines.finetune.evaluate.asking import asker
from nexus_pipelines.finetune.evaluate.engine import Place, Served
from nexus_pipelines.finetune.evaluate.errors import EngineNotOffered
from nexus_pipelines.finetune.evaluate.runtime import Runtime

UNIT = ReleasableUnit(base="hf://org/base", engine="triton", context_tokens=8192)
SIDES = [
    Served(UNIT.model_copy(update={"adapter_digest": "1" * 64}), "/a/new"),
    Served(UNIT),
    Served(UNIT.model_copy(update={"adapter_digest": "2" * 64}), "/a/old"),
]
OTHERWISE = {"max_num_seqs", "enable_prefix_caching"}
"""What an evaluation tells the engine otherwise than a pod: one request at a time, none kept."""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Place:
    """Have both programs installed, weights fetched, and adapters that were looked at."""
    for name in ("tritonserver", triton.ASKING):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    ours = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", f"{ours}:/usr/bin")
    monkeypatch.setenv("NEXUS_TRITONSERVER", str(tmp_path / "bin" / "tritonserver"))
    monkeypatch.setattr(triton, "_asking", lambda: tmp_path / "bin" / triton.ASKING)
    weights = tmp_path / "weights"
    weights.mkdir()
    files = ModelFiles(weights, "0" * 64, ModelFormat.SAFETENSORS, ())
    monkeypatch.setattr(unit_files, "fetch", lambda *_, **__: files)
    monkeypatch.setattr(triton, "largest_rank", lambda _: 12)
    monkeypatch.setattr("nexus_pipelines.triton_repository.writing.check_adapters", lambda *_: None)
    return Place(
        name="unit-1",
        port=4711,
        inner_port=4712,
        cache=tmp_path,
        folder=tmp_path / "runtime",
        threads=2,
        gpus=2,
    )


def written(place: Place, name: str) -> Any:
    return json.loads((place.folder / "repository" / place.name / "1" / name).read_text())


def test_triton_is_started_with_a_repository_beside_what_asks_it(place: Place) -> None:
    launch = triton.Triton().launch(SIDES, place)
    server, asking = launch.programs
    here = place.cache
    assert server.command == [
        f"{here}/bin/tritonserver",
        f"--model-repository={here}/runtime/repository",
        "--allow-http=false",
        "--allow-metrics=false",
        "--grpc-address=127.0.0.1",
        "--grpc-port=4712",
        "--exit-timeout-secs=5",
    ]
    assert asking.command == [
        f"{here}/bin/nexus-gateway-triton",
        "--url=grpc://127.0.0.1:4712",
        "--model=unit-1",
        "--port=4711",
        "--adapter=side-0",
        "--adapter=side-2",
    ]
    assert (server.children, asking.children) == (True, False)
    assert launch.models == ("unit-1:side-0", "unit-1", "unit-1:side-2")
    assert written(place, "multi_lora.json") == {"side-0": "/a/new", "side-2": "/a/old"}
    assert written(place, "model.json") == {
        "model": f"{here}/weights",
        "dtype": "auto",
        "max_model_len": 8192,
        "max_num_seqs": 1,
        "tensor_parallel_size": 2,
        "enable_prefix_caching": False,
        "enable_lora": True,
        "max_loras": 2,
        "max_lora_rank": 16,
    }
    alone = replace(place, name="unit-2")
    assert triton.Triton().launch(SIDES[1:2], alone).models == ("unit-2",)
    assert "enable_lora" not in written(alone, "model.json")


def test_what_is_measured_is_told_what_serves(place: Place) -> None:
    manifest = {
        "metadata": {"name": "unit-1", "namespace": "default"},
        "spec": {
            "model": {
                "uri": UNIT.base,
                "adapters": [{"name": name, "uri": f"hf://org/{name}"} for name in ("a", "b")],
            },
            "runtime": {
                "engine": "triton",
                "contextTokens": UNIT.context_tokens,
                "slots": 64,
                "maxLoraRank": 12,
            },
        },
    }
    profile = ResourceProfile(limits={"nvidia.com/gpu": "2"})
    serves = pod.repository_files(ServingModel.model_validate(manifest), Settings(), profile)
    triton.Triton().launch(SIDES, place)
    measures = written(place, "model.json")
    told = json.loads(serves["1/model.json"])
    for name in (*OTHERWISE, "model"):
        told.pop(name, None)
        measures.pop(name, None)
    assert measures == told
    config = place.folder / "repository" / place.name / CONFIG
    assert config.read_text() == serves[CONFIG]


def test_the_backend_finds_its_own_python_and_not_ours(place: Place) -> None:
    """It takes its libraries from beside the python3 of the PATH."""
    server, asking = triton.Triton().launch(SIDES, place).programs
    parts = server.environment["PATH"].split(os.pathsep)
    assert parts == [str(place.cache / "bin"), "/usr/bin"]
    assert "VIRTUAL_ENV" not in server.environment
    assert str(Path(sys.executable).parent) in asking.environment["PATH"].split(os.pathsep)


def test_without_the_programs_the_image_is_named(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXUS_TRITONSERVER", "/nowhere/tritonserver")
    with pytest.raises(EngineNotOffered, match=r"served by triton.*images\.evaluator"):
        triton.Triton().launch(SIDES, place)
    monkeypatch.undo()
    monkeypatch.setattr(triton.shutil, "which", lambda *_, **__: None)
    with pytest.raises(EngineNotOffered, match=r"nexus-gateway-triton.*images\.evaluator"):
        triton._asking()


@pytest.mark.parametrize(
    ("code", "said", "again"),
    [
        (1, "failed to load all models", True),
        (1, "Socket '127.0.0.1:4712' already in use", False),
        (75, "nexus-gateway-triton: unit-1 gave no answer", False),
        (-9, "", False),
    ],
)
def test_which_ends_come_again(code: int, said: str, *, again: bool) -> None:
    assert triton.Triton().refused(code, said) == again


def test_what_went_wrong_is_found_in_a_long_log() -> None:
    lines = [
        'I1122 05:50:13.450222 3449 server.cc:604] "loading"',
        "E1122 05:50:13.450222 3449 model_lifecycle.cc:654] \"failed to load 'unit-1'\"",
        *(f'I1122 05:50:14.0 3449 x.cc:{number}] "..."' for number in range(400)),
        "nexus-gateway-triton: unit-1 answers nobody: no",
        "the end",
    ]
    said = triton.Triton().words("\n".join(lines))
    assert "failed to load 'unit-1'" in said
    assert "nexus-gateway-triton: unit-1 answers nobody: no" in said
    assert said.endswith("the end")
    assert len(said) < 500


def test_tokens_are_estimated_as_they_are_when_triton_serves(place: Place) -> None:
    runtime = Runtime("http://127.0.0.1:1", place.name, triton.Triton(), ())
    with asker(UNIT, runtime) as ask:  # which nobody answers
        assert ask.counting(["twelve bytes", ""])("twelve bytes") == 4
