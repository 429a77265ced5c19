"""A tiny base model and a run that is ready to be trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_model import tiny_model
from training_world import StepWorld, rows


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal bytes are promised on CPUs alone, and a forked child cannot use its parent's GPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny products gain nothing from threads, and a forked child has one."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def world(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> StepWorld:
    made = StepWorld(tmp_path, f"file://{tiny}")
    monkeypatch.setenv("NEXUS_WORK_URL", f"file://{made.work}")
    monkeypatch.setenv("NEXUS_MODEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made.select(rows(24), rows(8, name="heldout"))
    return made
