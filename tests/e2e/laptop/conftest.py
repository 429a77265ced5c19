"""Platforms for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from laptop import INDEX, MODEL, Platform
from tiny_model import tiny_gguf, tiny_model
from waiting import eventually


def platform_at(folder: Path) -> Iterator[Platform]:
    platform = Platform(folder / "data")
    platform.start()
    try:
        yield platform
    finally:
        platform.stop()
        eventually(lambda: not platform.children(), what="no process left")


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """A platform of this test alone."""
    yield from platform_at(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One platform for the tests of a module, with the index and the model of the samples."""
    for platform in platform_at(tmp_path_factory.mktemp("platform")):
        platform.cli("apply", "-f", "-", stdin=INDEX + "---" + MODEL)
        platform.cli(
            "wait", "ri/handbook", "sm/assistant", "--for", "condition=Ready", "--timeout", "5m"
        )
        with platform.http() as http:  # the gateway hears of it a moment later
            eventually(
                lambda: http.get("/v1/models/assistant").json().get("ready"), what="it is asked for"
            )
        yield platform


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    return tiny_gguf(tiny_model(folder / "model"), folder / "tiny.gguf")
