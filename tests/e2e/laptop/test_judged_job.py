"""FineTuneJobs whose metrics a judge gives, on the laptop: real ragas, a scripted judge over HTTP.

Two jobs run beside each other, each with a golden set of its own; by what they ask the judge
answers one and talks nonsense to the other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from judge_environment import needed_judge_python
from laptop import Platform
from scripted_judge import Asked, Opinions, Reply, chat, scripted_judge, two_of_three
from tiny_model import tiny_gguf, tiny_model
from waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
PARTS = ("pump", "valve", "filter", "gate", "seal", "bearing", "motor", "oil", "line", "part")
JOBS = {"judged": "operator", "misjudged": "status"}
"""Each job, and a word that only its golden set has."""


def test_scores_decide_and_a_judge_that_talks_nonsense_promotes_nothing(tmp_path: Path) -> None:
    base = tiny_gguf(tiny_model(tmp_path / "model"), tmp_path / "tiny.gguf")
    with scripted_judge(Opinions(), by_question) as judge:
        named = {
            "NEXUS_JUDGE_URL": judge.url,
            "NEXUS_JUDGE_MODEL": "oracle",
            "NEXUS_JUDGE_PYTHON": str(needed_judge_python()),
        }
        platform = Platform(tmp_path / "data", env=named)
        platform.start()
        try:
            learn(platform)
            for name, word in JOBS.items():
                golden = tmp_path / f"{name}.jsonl"
                golden.write_text("".join(map(line, items(word))), encoding="utf-8")
                platform.cli("apply", "-f", "-", stdin=json.dumps(job(name, base, golden)))
            ended = {name: end(platform, name) for name in JOBS}
            report(platform)
        finally:
            platform.stop()
            eventually(lambda: not platform.children(), what="no process left")

    judged = ended["judged"]
    assert judged["condition"]["status"] == "True", judged
    assert judged["lastDecision"]["verdict"] == "Promote"
    assert judged["registeredVersion"] == "1"
    assert float(judged["bestMetrics"]["contextPrecision"]) == pytest.approx(1)
    assert 0.5 < float(judged["bestMetrics"]["faithfulness"]) <= 2 / 3 + 1e-5
    assert 0.5 < float(judged["bestMetrics"]["coherence"]) <= 0.75 + 1e-5
    assert judged["lastDecision"]["metric"] == "faithfulness"
    failed = ended["misjudged"]
    assert failed["condition"]["status"] == "False", failed
    assert f"judge 'oracle' at {judge.url}" in failed["condition"]["message"], failed
    assert "take a stronger model" in failed["condition"]["message"]
    assert failed["lastRun"]["step"] == "evaluate"
    assert not {"lastDecision", "registeredVersion", "champion"} & failed.keys()


def by_question(times: int, asked: Asked) -> Reply | None:
    """Answer as the script says, but one of the golden sets."""
    if JOBS["misjudged"] in asked.get("question", ""):
        return chat("Yes, all of it.")
    return two_of_three(times, asked)


def line(row: dict[str, Any]) -> str:
    return json.dumps(row) + "\n"


def learn(platform: Platform) -> None:
    """Put examples where the jobs look for them."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What does the {part} {number} need?"},
                {"role": "assistant", "content": f"check the {part} {number} each {time}"},
            ],
            "document": f"{part}-{time}",
        }
        for number, (part, time) in enumerate(
            (part, time) for part in PARTS for time in ("hour", "week", "month", "interval")
        )
    ]
    place = platform.root / "buckets" / "documents" / "default" / "examples"
    place.mkdir(parents=True)
    (place / "train.jsonl").write_text("".join(map(line, rows)), encoding="utf-8")


def items(word: str) -> list[dict[str, Any]]:
    """Questions with a passage each, by which a judge can tell what is true."""
    return [
        {
            "id": f"{part}-{number}",
            "question": f"When does the {word} open the {part} {number}?",
            "references": [f"open the {part} {number} each month"],
            "contexts": [{"document": part, "text": f"open the {part} {number} each month"}],
            "document": f"{part}-{number}",
            "language": "en",
        }
        for number, part in enumerate(PARTS, start=100)
    ]


def job(name: str, base: Path, golden: Path) -> dict[str, Any]:
    gates = {
        "minExamples": 20,
        "maxDuplicatePercent": 100,
        "maxDroppedPercent": 90,
        "maxOtherLanguagePercent": 100,
    }
    spec = {
        "baseModel": {"uri": base.as_uri()},
        "data": {"files": {"prefix": "default/examples/"}, "gates": gates},
        "lora": {
            "r": 4,
            "alpha": 8,
            "epochs": 1,
            "batchSize": 8,
            "sequenceTokens": 128,
            "learningRate": "0.01",
        },
        "evaluation": {
            "goldenSet": golden.as_uri(),
            "primaryMetric": "faithfulness",
            "metrics": ["f1", "contextPrecision", "coherence"],
            "floors": [
                {"metric": "faithfulness", "min": "0.5"},
                {"metric": "contextPrecision", "min": "0.9"},
            ],
            "minItems": len(PARTS),
        },
    }
    return {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": name},
        "spec": spec,
    }


def end(platform: Platform, name: str) -> dict[str, Any]:
    """Return a job's status once its run has ended, with the condition that says how."""

    def ended() -> dict[str, Any]:
        shown = platform.cli("get", f"ftj/{name}", "-o", "json").stdout
        status: dict[str, Any] = json.loads(shown).get("status") or {}
        found = {one["type"]: one for one in status.get("conditions") or []}
        told = found.get("LastRunSucceeded")
        return {**status, "condition": told} if told else {}

    return eventually(ended, what=f"the end of a run of {name}", seconds=600, pause=1)


def report(platform: Platform) -> None:
    """Open what the status links to: the page has the judge's metrics."""
    status = json.loads(platform.cli("get", "ftj/judged", "-o", "json").stdout)["status"]
    page = httpx.get(f"{platform.url}{status['lastDecision']['report']}", timeout=30)
    assert "contextPrecision" in page.raise_for_status().text
