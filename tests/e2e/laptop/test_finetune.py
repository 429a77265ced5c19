"""Fine-tuning on the laptop, every step real, on a language model of two layers made here.

The job learns from examples in the bucket, its gate has floors alone (nothing serves yet), a person
releases the version, a ServingModel that names the champion answers as was measured, and the
version before comes back by a rollback and by a pin.  Beside it a job runs by its schedule.
At last the gate promotes a better version over production by itself, which a rollback undoes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from laptop import Platform
from waiting import eventually

from nexus_models import fetch
from nexus_operator.status.runs import CAUSE

from .asking import correct, measured, served
from .conftest import platform_at
from .tuning import (
    LORA,
    apply,
    asked,
    condition,
    examples,
    first_end,
    job,
    learn,
    names,
    put_rows,
    runs_of,
    settled,
    status,
    taught,
    tracked,
    version,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Iterator[Platform]:
    """A platform on which the job has had its first run."""
    for platform in platform_at(tmp_path_factory.mktemp("tuning")):
        learn(platform)
        apply(platform, scheduled(base, "resting", suspend=True))
        apply(platform, scheduled(base, "nightly"))
        apply(platform, job(base))
        ended = first_end(platform)
        assert ended["status"] == "True", (ended, (platform.root.parent / "up.log").read_text())
        yield platform


def scheduled(base: Path, name: str, **spec: Any) -> dict[str, Any]:
    """Make a job that is due each minute; `validate` ends its runs, as training is tested below."""
    found = job(base, triggers={"schedule": "* * * * *", "cooldown": "1m"}, **spec)
    found["metadata"] = {"name": name}
    found["spec"]["data"]["gates"] = {"minExamples": 1000}
    return found


def test_a_run_goes_through_every_step_to_a_version_that_waits(
    tuned: Platform, base: Path, tmp_path: Path
) -> None:
    told = status(tuned)
    assert told["lastRun"]["phase"] == "Succeeded"
    assert told["lastRun"]["progressPercent"] == 100
    assert float(told["lastRun"]["loss"]) > 0
    assert told["lastDecision"]["verdict"] == "Promote"
    assert told["lastDecision"]["reason"] == "FloorsMet"
    assert told["registeredVersion"] == "1"
    assert condition(tuned, "AwaitingApproval")["status"] == "True"
    assert "champion" not in told
    listed = tuned.cli("runs", "finetunejob/tuning").stdout
    assert "Promote 1" in listed
    tags = version(tuned, "1").tags
    digest = fetch(base.as_uri(), cache=tmp_path).digest  # one GGUF, which trained and serves
    assert (tags["nexus.base"], tags["nexus.baseDigest"]) == (base.as_uri(), digest)
    assert tags["nexus.trainedOnDigest"] == digest


def test_the_version_that_waits_answers_before_anybody_released_it(
    tuned: Platform, base: Path
) -> None:
    adapter = {"name": "tuned", "uri": "models:/default.tuning@challenger"}
    staging = {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "ServingModel",
        "metadata": {"name": "staging"},
        "spec": {
            "model": {"uri": base.as_uri(), "adapters": [adapter]},
            "runtime": {"contextTokens": 512},
        },
    }
    apply(tuned, staging)
    with tuned.http() as http:
        eventually(
            lambda: http.get("/v1/models/staging:tuned").json().get("ready"),
            what="it is asked for",
            seconds=240,
        )
    waits = measured(status(tuned)["challenger"])
    assert served(tuned, "staging:tuned", waits) == waits.answers
    told = json.loads(tuned.cli("get", "sm/staging", "-o", "json").stdout)["status"]
    assert [one["version"] for one in told["adapters"]] == ["1"]
    assert "champion" not in status(tuned)
    tuned.cli("delete", "sm/staging")


def test_a_training_tells_how_far_it_is_while_it_goes_on(tuned: Platform, base: Path) -> None:
    long = {**LORA, "epochs": 100, "batchSize": 1, "learningRate": "1e-4"}
    watched = job(base, lora=long)
    watched["metadata"] = {"name": "watched"}
    apply(tuned, watched)

    def told() -> dict[str, Any]:
        shown = json.loads(tuned.cli("get", "ftj/watched", "-o", "json").stdout)
        last: dict[str, Any] = (shown.get("status") or {}).get("lastRun") or {}
        assert last.get("phase", "Starting") in {"Starting", "Pending", "Running"}, last
        return last if "loss" in last else {}

    last = eventually(told, what="the loss of a training that goes on", seconds=900)
    assert last["step"] == "train"
    assert last["progressPercent"] in range(100)
    assert last["expectedEnd"].endswith("Z")
    heads, row = tuned.cli("get", "ftj/watched").stdout.splitlines()
    assert heads.split()[4:7] == ["STEP", "DONE%", "LOSS"]
    assert len(row) <= 80
    described = tuned.cli("describe", "ftj/watched").stdout
    assert "progressPercent: " in described
    assert "expectedEnd: " in described
    cancelled_and_run_anew(tuned)
    tuned.cli("delete", "ftj/watched")
    eventually(lambda: not runs_of(tuned, "watched"), what="its run gone")


def cancelled_and_run_anew(platform: Platform) -> None:
    """Cancel the run of the job `watched` and ask for another, by the command line."""
    platform.cli("cancel", "ftj/watched")
    eventually(
        lambda: condition(platform, "LastRunSucceeded", "watched").get("reason") == "Cancelled",
        what="the end of its run",
    )
    refused = platform.cli("cancel", "ftj/watched", ok=False)
    assert "has no run under way" in refused.stderr
    platform.cli("run", "ftj/watched", "--by", "Ada")
    eventually(lambda: len(runs_of(platform, "watched")) == 2, what="the run that Ada asked for")


def test_a_person_moves_the_champion_and_back(tuned: Platform, base: Path) -> None:
    apply(tuned, job(base, lora={**LORA, "seed": 1}))
    eventually(lambda: len(runs_of(tuned, "tuning")) == 2, what="a second run")
    eventually(lambda: status(tuned).get("registeredVersion") == "2", what="version 2", seconds=900)
    for number, previous in (("1", None), ("2", "1")):
        tuned.cli("promote", "tuning", "--version", number, "--by", "Ada {{x}}")
        told = eventually(lambda v=number: champion(tuned, v), what="a champion")
        assert told.get("previous", {}).get("version") == previous
    folder = Path(httpx.URL(told["champion"]["uri"]).path)
    assert {"unit.json", "adapter_model.safetensors", "adapter.gguf"} <= {
        file.name for file in folder.iterdir()
    }
    tuned.cli("rollback", "tuning", "--by", "Ada")
    told = eventually(lambda: champion(tuned, "1"), what="the version before")
    assert "previous" not in told
    assert condition(tuned, "Released")["status"] == "True"
    assert len(runs_of(tuned, "tuning")) == 2


def champion(platform: Platform, version: str) -> dict[str, Any]:
    told = status(platform)
    return told if told.get("champion", {}).get("version") == version else {}


def test_a_model_that_names_the_champion_answers_as_it_was_measured(
    tuned: Platform, base: Path
) -> None:
    """The runtime of an evaluation and the one that serves say the same, byte for byte."""
    adapter = {"name": "tuned", "uri": "models:/default.tuning@champion"}
    model = {"uri": base.as_uri(), "adapters": [adapter]}
    serving = {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "ServingModel",
        "metadata": {"name": "technician"},
        "spec": {
            "model": model,
            "runtime": {"contextTokens": 512},
            "generation": {"maxTokens": 24},
        },
    }
    apply(tuned, serving)
    tuned.cli("wait", "sm/technician", "--for", "condition=Ready", "--timeout", "4m")
    with tuned.http() as http:  # the gateway hears of it a moment later
        eventually(
            lambda: http.get("/v1/models/technician:tuned").json().get("ready"),
            what="it is asked for",
        )
    first = measured(champion(tuned, "1")["champion"])
    assert served(tuned, "technician:tuned", first) == first.answers
    assert served(tuned, "technician", first) != first.answers
    tuned.cli("promote", "tuning", "--version", "2", "--by", "Ada")
    second = measured(eventually(lambda: champion(tuned, "2"), what="version 2")["champion"])
    assert second.answers != first.answers
    eventually(
        lambda: served(tuned, "technician:tuned", second) == second.answers,
        what="what was measured of the other version",
        seconds=600,
    )
    roll_back_by_pin(tuned, base)
    eventually(
        lambda: served(tuned, "technician:tuned", first) == first.answers,
        what="the old answers",
        seconds=600,
    )


def roll_back_by_pin(platform: Platform, base: Path) -> None:
    """Go back to version 1 by one field of the spec, which is then taken away again."""
    learnt = {**LORA, "seed": 1}
    apply(platform, job(base, lora=learnt, promotion={"pinnedVersion": "1"}))
    told = eventually(lambda: champion(platform, "1"), what="the pinned version")
    assert told["previous"]["version"] == "2"
    refused = platform.cli("promote", "tuning", "--version", "2", ok=False)
    assert refused.returncode == 1
    assert "pinned to version 1" in refused.stderr
    apply(platform, job(base, lora=learnt))
    eventually(lambda: settled(platform), what="the job without the pin")
    assert champion(platform, "1")["champion"] == told["champion"]
    assert len(runs_of(platform, "tuning")) == 2


def test_a_schedule_starts_one_run_after_another_and_none_of_a_suspended_job(
    tuned: Platform, base: Path
) -> None:
    """Both jobs were made before all else: minutes have passed since."""
    eventually(lambda: len(runs_of(tuned, "nightly")) > 1, what="two runs", seconds=300)
    apply(tuned, scheduled(base, "nightly", suspend=True))
    eventually(lambda: settled(tuned, "nightly"), what="no further run")
    last = eventually(lambda: ended_run(tuned, "nightly"), what="the end of the last run")
    found = sorted(runs_of(tuned, "nightly"), key=begun)
    assert {one["metadata"]["annotations"][CAUSE] for one in found} == {"Schedule"}
    for one, following in pairwise(found):
        assert datetime.fromisoformat(one["status"]["finishedAt"]) <= begun(following)
        assert begun(following) - begun(one) >= timedelta(minutes=1)
    assert (last["cause"], last["phase"], last["step"]) == ("Schedule", "Failed", "validate")
    assert runs_of(tuned, "resting") == []
    assert "lastRun" not in status(tuned, "resting")
    assert condition(tuned, "Ready", "resting")["reason"] == "Suspended"


def begun(run: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(run["metadata"]["creationTimestamp"])


def test_fifty_repeats_of_an_alert_are_one_run_and_a_copy_of_production_is_refused(
    tuned: Platform, base: Path
) -> None:
    triggers = {"alerts": [{"matchers": {"alertname": "Low"}}], "cooldown": "1m"}
    apply(tuned, job(base, triggers=triggers))
    before = names(runs_of(tuned, "tuning"))
    alert = {
        "status": "firing",
        "labels": {"alertname": "Low"},
        "startsAt": "2099-01-01T00:00:00Z",
        "fingerprint": "f00d",
    }
    posted = {"version": "4", "alerts": [alert]}
    for _ in range(25):
        httpx.post(f"{tuned.url}/hooks/alerts", json=posted, timeout=30).raise_for_status()
    (name,) = eventually(
        lambda: names(runs_of(tuned, "tuning")) - before, what="a run", seconds=600
    )
    for _ in range(25):
        httpx.post(f"{tuned.url}/hooks/alerts", json=posted, timeout=30).raise_for_status()
    told = eventually(lambda: decided(tuned, name), what="a decision about the copy", seconds=900)
    assert told["verdict"] != "Promote"
    eventually(lambda: condition(tuned, "Running").get("status") == "False", what="its end")
    assert "version" not in told
    (kept,) = tracked(tuned, name)  # refused, and looked at in MLflow all the same
    assert kept.tags["nexus.verdict"] == told["verdict"]
    assert kept.metrics["candidate.f1"] == kept.metrics["production.f1"]
    assert "production.behaviour.typos" in kept.metrics
    assert names(runs_of(tuned, "tuning")) == before | {name}
    assert status(tuned)["champion"]["version"] == "1"


def decided(platform: Platform, run: str) -> dict[str, Any]:
    told: dict[str, Any] = status(platform).get("lastDecision") or {}
    return told if told.get("run") == run else {}


def test_enough_new_examples_start_one_run_and_fewer_none(tuned: Platform, base: Path) -> None:
    """Rows of files and a correction count alike; what was said before does not."""
    place = tuned.root / "buckets" / "documents" / "default" / "fresh"
    place.mkdir()
    put_rows(place / "a.jsonl", examples()[:8])
    watching = job(base, triggers={"newData": {"minExamples": 10, "checkInterval": "10s"}})
    watching["metadata"]["name"] = "fresh"
    watching["spec"]["data"] = {
        "files": {"prefix": "default/fresh/"},
        "feedback": {"servingModelRef": {"name": "technician"}},
        "gates": {"minExamples": 1000},  # `validate` ends the run: training is tested above
    }
    apply(tuned, watching)
    eventually(lambda: newly_found(tuned) == 8, what="the first count")
    put_rows(place / "b.jsonl", examples()[7:9])  # one of them is said in a.jsonl
    eventually(lambda: newly_found(tuned) == 9, what="the row that is new")
    assert runs_of(tuned, "fresh") == []

    correct(tuned, "technician")
    ended = eventually(lambda: ended_run(tuned, "fresh"), what="a run's end", seconds=900)
    assert (ended["cause"], ended["phase"], ended["step"]) == ("NewData", "Failed", "validate")
    eventually(lambda: newly_found(tuned) == 0, what="a count after the run")
    assert status(tuned, "fresh")["newData"]["since"] == ended["name"]
    assert names(runs_of(tuned, "fresh")) == {ended["name"]}


def newly_found(platform: Platform) -> int | None:
    found: int | None = (status(platform, "fresh").get("newData") or {}).get("examples")
    return found


def ended_run(platform: Platform, name: str) -> dict[str, Any]:
    last: dict[str, Any] = status(platform, name).get("lastRun") or {}
    return last if last.get("finishedAt") else {}


def test_a_better_version_goes_live_by_itself_and_the_old_one_outlives_its_run(
    tuned: Platform, base: Path, tmp_path: Path
) -> None:
    """What the gate put in production's place is undone when nothing of the old run is kept."""
    earlier = champion(tuned, "1")
    first = measured(earlier["champion"])
    made_by = version(tuned, "1").tags["nexus.run"]
    assert made_by in kept_runs(tuned)
    before = names(runs_of(tuned, "tuning"))
    apply(tuned, better_job(tuned, base, tmp_path / "golden.jsonl", serving="technician"))
    (run,) = eventually(lambda: names(runs_of(tuned, "tuning")) - before, what="a run")
    told = eventually(lambda: decided(tuned, run), what="a decision", seconds=900)
    assert told["verdict"] == "Promote", told
    told = eventually(lambda: champion(tuned, "3"), what="the better version")
    assert told["previous"]["version"] == "1"
    third = measured(told["champion"])
    assert third.answers != first.answers
    eventually(
        lambda: served(tuned, "technician:tuned", third) == third.answers,
        what="what was measured of the better version",
        seconds=240,
    )
    eventually(lambda: names(runs_of(tuned, "tuning")) == {run}, what="one run is left")
    assert run in kept_runs(tuned)
    assert len(kept_runs(tuned)) == 2  # of the run before it only the Workflow is gone
    assert made_by not in kept_runs(tuned)
    tuned.cli("rollback", "tuning", "--by", "Ada")
    told = eventually(lambda: champion(tuned, "1"), what="the version before")
    assert told["previous"]["version"] == earlier["previous"]["version"]
    eventually(
        lambda: served(tuned, "technician:tuned", first) == first.answers,
        what="the old answers",
        seconds=240,
    )


def better_job(platform: Platform, base: Path, golden: Path, serving: str) -> dict[str, Any]:
    """Let the job learn two answers that its golden set asks for, and promote by itself."""
    place = platform.root / "buckets" / "documents" / "default" / "taught"
    place.mkdir()
    put_rows(place / "train.jsonl", [taught(number) for number in range(60)])
    put_rows(golden, [asked(number) for number in range(100, 124)])
    found = job(
        base,
        lora={**LORA, "r": 8, "alpha": 16, "epochs": 6},
        promotion={"mode": "Auto", "servingModelRef": {"name": serving}},
        runsKept=1,
    )
    found["spec"]["data"]["files"] = {"prefix": "default/taught/"}
    wanted = {"goldenSet": golden.as_uri(), "minItems": 20, "detectableEffect": "0.5"}
    found["spec"]["evaluation"] |= wanted
    return found


def kept_runs(platform: Platform) -> set[str]:
    """Return the runs of the job of which the work store has objects."""
    work = platform.root / "work" / "finetunes" / "default" / "tuning"
    return {one.name for one in work.iterdir() if any(one.rglob("*.json*"))}
