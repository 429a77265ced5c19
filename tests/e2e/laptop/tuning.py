"""A FineTuneJob on the laptop that learns a little quickly; what status and registry say of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from laptop import Platform
from waiting import eventually

from nexus_registry import Connection, Reader, TrackedRun, Version, Versions

LORA = {
    "r": 4,
    "alpha": 8,
    "epochs": 1,
    "batchSize": 8,
    "sequenceTokens": 128,
    "learningRate": "0.01",
}
QUESTIONS = ("What does the {0} need?", "When does the operator check the {0}?")
PARTS = ("pump", "valve", "filter", "gate", "seal", "bearing", "motor", "oil", "line", "part")
TAUGHT = ("check the note each week", "open the valve each month")
"""What `taught` says to each of QUESTIONS, whatever the part."""
TIMES = ("hour", "week", "month", "interval", "note", "status", "manual", "tool")


def examples() -> list[dict[str, Any]]:
    """Questions about parts, each with one right answer; every document is one part."""
    return [
        {
            "messages": [
                {"role": "user", "content": QUESTIONS[number % 2].format(f"{part} {number}")},
                {"role": "assistant", "content": f"check the {part} {number} each {time}"},
            ],
            "document": f"{part}-{time}",
        }
        for number, (part, time) in enumerate((part, time) for part in PARTS for time in TIMES)
    ]


def taught(number: int) -> dict[str, Any]:
    """Make an example from which a model of two layers learns one of two answers."""
    return {
        "messages": [
            {"role": "user", "content": _question(number)},
            {"role": "assistant", "content": TAUGHT[number % 2]},
        ],
        "document": f"manual {number}",
    }


def asked(number: int) -> dict[str, Any]:
    """Make an item of a golden set that is answered as `taught`."""
    return {
        "id": f"item-{number}",
        "question": _question(number),
        "references": [TAUGHT[number % 2]],
        "document": f"manual {number}",
        "language": "en",
    }


def _question(number: int) -> str:
    return QUESTIONS[number % 2].format(f"{PARTS[number % len(PARTS)]} {number}")


def job(base: Path, **spec: Any) -> dict[str, Any]:
    full = {
        "baseModel": {"uri": base.as_uri()},
        "data": {
            "files": {"prefix": "default/examples/"},
            "validationPercent": 25,
            "gates": {
                "minExamples": 20,
                "maxDuplicatePercent": 100,
                "maxDroppedPercent": 90,
                "maxOtherLanguagePercent": 100,
            },
        },
        "lora": LORA,
        "evaluation": {
            "primaryMetric": "f1",
            "floors": [{"metric": "f1", "min": "0"}],
            "minItems": 1,
        },
        **spec,
    }
    return {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": "tuning"},
        "spec": full,
    }


def apply(platform: Platform, manifest: dict[str, Any]) -> None:
    platform.cli("apply", "-f", "-", stdin=json.dumps(manifest))


def status(platform: Platform, name: str = "tuning") -> dict[str, Any]:
    shown = platform.cli("get", f"ftj/{name}", "-o", "json").stdout
    found: dict[str, Any] = json.loads(shown).get("status") or {}
    return found


def settled(platform: Platform, name: str = "tuning") -> bool:
    """Tell whether the operator has seen the spec as it is."""
    shown = json.loads(platform.cli("get", f"ftj/{name}", "-o", "json").stdout)
    told = (shown.get("status") or {}).get("observedGeneration")
    return bool(told == shown["metadata"]["generation"])


def condition(platform: Platform, kind: str, name: str = "tuning") -> dict[str, Any]:
    found = status(platform, name).get("conditions") or []
    return next((one for one in found if one["type"] == kind), {})


def put_rows(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")


def learn(platform: Platform) -> None:
    """Put the examples where the job looks for them."""
    place = platform.root / "buckets" / "documents" / "default" / "examples"
    place.mkdir(parents=True)
    put_rows(place / "train.jsonl", examples())


def first_end(platform: Platform) -> dict[str, Any]:
    return eventually(
        lambda: condition(platform, "LastRunSucceeded"), what="a run's end", seconds=900
    )


def runs(platform: Platform) -> list[dict[str, Any]]:
    shown = platform.cli("get", "wf", "-n", "nexus-system", "-o", "json").stdout
    items = json.loads(shown).get("items") or []
    return [one for one in items if one["spec"]["workflowTemplateRef"]["name"] == "nexus-finetune"]


def runs_of(platform: Platform, name: str) -> list[dict[str, Any]]:
    found = runs(platform)
    return [one for one in found if one["metadata"]["labels"]["llmops.nexus/job"] == name]


def names(found: list[dict[str, Any]]) -> set[str]:
    return {one["metadata"]["name"] for one in found}


def registry(platform: Platform) -> Connection:
    return Connection(f"sqlite:///{platform.root}/tracking.db")


def tracked(platform: Platform, run: str) -> list[TrackedRun]:
    return Reader(registry(platform)).find(run, prefixes=("default.",))


def version(platform: Platform, number: str, name: str = "tuning") -> Version:
    return Versions(registry(platform)).version(f"default.{name}", number)
