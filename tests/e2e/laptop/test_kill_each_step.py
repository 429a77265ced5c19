"""Each step of a run is killed once, and the whole platform too: nothing is lost or made twice."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from laptop import Platform
from waiting import eventually

from nexus_registry import NotFound, Reader, Versions

from .holding import HeldPlatform
from .tuning import (
    apply,
    condition,
    job,
    learn,
    names,
    registry,
    runs_of,
    status,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
KILLED_BEFORE = {
    "select": "/select/selection.json",
    "validate": "/validate/done.json",
    "train": "/train/training.json",
    "evaluate": "/evaluate/answers/[^/]*/000001.jsonl",
    "gate": "/gate/done.json",
    "register": "/register/version.json",  # MLflow has run and version by then
}
"""The object that each step is about to put in its place when it is killed; others are there."""
ENDED_BY_KILL = 137


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeldPlatform]:
    platform = HeldPlatform(tmp_path_factory.mktemp("held") / "data")
    platform.start()
    try:
        learn(platform)
        yield platform
    finally:
        platform.stop()
        eventually(lambda: not platform.children(), what="no process left")


def test_a_run_whose_steps_are_killed_ends_as_one_that_was_left_alone(
    held: HeldPlatform, base: Path
) -> None:
    for step, place in KILLED_BEFORE.items():
        held.hold("tuning", f"finetune-{step}", place)
    for name in ("calm", "tuning"):
        apply(held, few_items(base, name))
    for step in ("select", "validate", "train"):
        held.kill("tuning", f"finetune-{step}")
    held.kill_and_hold("tuning", "finetune-evaluate", "/evaluate/evaluation.json")
    ended(held, "calm")

    held.held("tuning", "finetune-evaluate")
    held.stop(signal.SIGKILL)
    eventually(lambda: not held.children(), what="no orphan is left")
    held.start()
    held.kill("tuning", "finetune-gate")
    held.kill("tuning", "finetune-register")
    ended(held, "tuning")

    for step in KILLED_BEFORE:
        assert ENDED_BY_KILL in exits(held, "tuning", step), step
        assert exits(held, "calm", step) == [0]
    one_run_and_one_version(held)
    assert results(held, "tuning") == results(held, "calm")


def few_items(base: Path, name: str) -> dict[str, Any]:
    found = job(base)
    found["metadata"] = {"name": name}
    found["spec"]["data"]["validationPercent"] = 10
    return found


def ended(platform: Platform, name: str) -> None:
    told = eventually(
        lambda: condition(platform, "LastRunSucceeded", name), what=f"{name}'s end", seconds=600
    )
    assert told["status"] == "True", (told, (platform.root.parent / "up.log").read_text())


def exits(platform: Platform, name: str, step: str) -> list[int]:
    """Return the exit codes of the tries of a step in the job's only run, the last one's last."""
    (run,) = runs_of(platform, name)
    tries = {
        one["displayName"]: one
        for one in run["status"]["nodes"].values()
        if one["type"] == "Pod" and one["displayName"].startswith(f"{step}(")
    }
    found = [tries[f"{step}({number})"] for number in range(len(tries))]
    return [int(code) for one in found if (code := (one.get("outputs") or {}).get("exitCode"))]


def one_run_and_one_version(platform: Platform) -> None:
    connection = registry(platform)
    for name in ("calm", "tuning"):
        (run,) = names(runs_of(platform, name))
        (tracked,) = Reader(connection).find(run, prefixes=("default.",))
        assert tracked.tags["nexus.verdict"] == "Promote"
        made = Versions(connection).version(f"default.{name}", "1")
        assert made.tags["nexus.run"] == run
        assert status(platform, name)["registeredVersion"] == "1"
        with pytest.raises(NotFound):
            Versions(connection).version(f"default.{name}", "2")


def results(platform: Platform, name: str) -> dict[str, Any]:
    """Return what a run came to, without the times that it took."""
    (run,) = names(runs_of(platform, name))
    place = platform.root / "work" / "finetunes" / "default" / name / run
    trained = json.loads((place / "train" / "training.json").read_text())
    decision = json.loads((place / "gate" / "decision.json").read_text())
    answers = (place / "evaluate" / "candidate.jsonl").read_text().splitlines()
    return {
        "adapter": trained["adapter"],
        "losses": trained["losses"],
        "answers": [{**json.loads(line), "latencyMs": 0} for line in answers],
        "decision": {**decision, "candidateDigest": ""},  # of those answers, with their times
    }
