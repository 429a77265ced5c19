"""Ctrl-C and then SIGKILL of the whole platform amid a training: one run, one version."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from laptop import Platform
from waiting import eventually

from nexus_registry import NotFound

from .tuning import LORA, apply, first_end, job, learn, names, runs, status, tracked, version

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
LONG = {**LORA, "epochs": 3, "batchSize": 1, "learningRate": "1e-4"}
BEGUN = re.compile(r"progress step=(\d+)/")
GONE_ON = re.compile(r"going on after step (\d+) of ")
SECONDS = 600


def test_a_run_goes_on_from_its_checkpoint_and_ends_with_one_version(
    platform: Platform, base: Path
) -> None:
    learn(platform)
    apply(platform, job(base, lora=LONG))
    eventually(lambda: said(platform, BEGUN), what="a training", seconds=SECONDS, pause=0.01)
    (run,) = names(runs(platform))

    first = again(platform, signal.SIGINT)  # the step is asked to end, and writes where it stands
    assert first > 0
    assert again(platform, signal.SIGKILL) >= first  # nobody is asked

    ended = first_end(platform)
    assert ended["status"] == "True", ended
    assert names(runs(platform)) == {run}
    told = status(platform)
    assert (told["lastRun"]["name"], told["registeredVersion"]) == (run, "1")
    assert version(platform, "1").tags["nexus.run"] == run
    with pytest.raises(NotFound):
        version(platform, "2")
    assert len(tracked(platform, run)) == 1
    trained = training(platform, run)
    assert len(trained["losses"]) == trained["plannedSteps"] > first


def again(platform: Platform, number: signal.Signals) -> int:
    """End the platform by a signal and start it anew; gives the step after which it goes on."""
    platform.stop(number)
    eventually(lambda: not platform.children(), what="no orphan is left")
    since = time.time_ns()
    platform.start()
    (step,) = eventually(
        lambda: said(platform, GONE_ON, since), what="it goes on", seconds=SECONDS, pause=0.01
    )
    return step


def said(platform: Platform, what: re.Pattern[str], since: int = 0) -> list[int]:
    """Return the newest number that the training has said in this form, from a time (ns) on.

    Read where it is written: asked for, it would be over on a quick machine.
    """
    logs = platform.root.glob("node/pods/nexus-system/*-train-*/logs/0.log")
    texts = [log.read_text() for log in logs if log.stat().st_mtime_ns >= since]
    return [int(one[1]) for text in texts for one in what.finditer(text)][-1:]


def training(platform: Platform, run: str) -> dict[str, Any]:
    place = platform.root / "work" / "finetunes" / "default" / "tuning" / run
    found: dict[str, Any] = json.loads((place / "train" / "training.json").read_text())
    return found
