"""A person's experiments on the laptop, every part real, on two language models of two layers.

Answers are corrected, the corrections become a golden set, both models are compared on it with two
prompts beside the baseline, and their runs item by item.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from laptop import Platform
from tiny_model import tiny_gguf, tiny_model
from waiting import eventually

from nexus_registry import Reader

from .tuning import registry

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


MODELS = ("student", "novice")


def test_corrections_become_a_golden_set_on_which_models_and_prompts_are_compared(
    platform: Platform, tmp_path: Path
) -> None:
    for seed, name in enumerate(MODELS):  # the same shape, other weights
        weights = tiny_model(tmp_path / name, seed=seed)
        serve(platform, name, tiny_gguf(weights, tmp_path / f"{name}.gguf"))
    for name in MODELS:
        await_answers(platform, name)
    responses = {
        corrected(platform, f"What does the pump {number} need?", f"check the pump {number}")
        for number in (1, 2)
    }
    told = platform.cli("golden", "feedback").stdout.splitlines()
    assert responses == {line for line in told if not line.startswith(" ")}
    platform.cli("golden", "add", *sorted(responses), "--set", "pumps")
    listed = platform.cli("golden", "list").stdout.split()
    address = next(word for word in listed if word.endswith("/default/golden/pumps-v1.jsonl"))
    found = compared(platform, tmp_path / "prompts.json", address)
    asked = ["baseline", *(name for name in MODELS for _ in ("plain", "brief"))]
    assert [one["model"] for one in found["runs"]] == asked
    names = [one["run"] for one in found["runs"]]
    told = platform.cli("diff", names[0], names[2]).stdout.splitlines()
    assert told[0].startswith("2 items by f1: ")
    the_models_differ(platform, names[1], names[3])
    page = httpx.get(found["report"], timeout=30).raise_for_status()
    assert "Gain over the baseline" in page.text
    reports = httpx.get(f"{platform.url}/v1/reports", timeout=30).json()["reports"]
    assert [one["run"] for one in reports] == [found["experiment"]]


def the_models_differ(platform: Platform, before: str, after: str) -> None:
    """Two models on one set with one prompt: what `diff` says is what was tracked of each."""
    told = json.loads(platform.cli("diff", before, after, "-o", "json").stdout)
    assert (told["items"], told["onlyBefore"], told["onlyAfter"]) == (2, [], [])
    changed = [*told["better"], *told["worse"], *told["reworded"]]
    assert changed
    for run, side, model in zip((before, after), ("Before", "After"), MODELS, strict=True):
        (kept,) = Reader(registry(platform)).find(run, prefixes=("default/",))
        assert kept.params["model"] == model
        rows = Reader(registry(platform)).table(kept.id, "items.json")
        answers = {row["id"]: row["answer"] for row in rows}
        assert len(answers) == 2
        for one in changed:
            assert one[f"answer{side}"] == answers[one["id"]]


def serve(platform: Platform, name: str, base: Path) -> None:
    """Serve a model without an index."""
    model = {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "ServingModel",
        "metadata": {"name": name},
        "spec": {"model": {"uri": base.as_uri()}, "runtime": {"contextTokens": 512}},
    }
    platform.cli("apply", "-f", "-", stdin=json.dumps(model))


def await_answers(platform: Platform, name: str) -> None:
    platform.cli("wait", f"sm/{name}", "--for", "condition=Ready", "--timeout", "4m")
    with platform.http() as http:  # the gateway hears of it a moment later
        eventually(
            lambda: http.get(f"/v1/models/{name}").json().get("ready"), what="it is asked for"
        )


def corrected(platform: Platform, question: str, better: str) -> str:
    """Ask, say what would have been right, and return the answer's id."""
    messages = [{"role": "user", "content": question}]
    with platform.http() as http:
        asked = {"model": "student", "messages": messages, "max_tokens": 4}
        answered = http.post("/v1/chat/completions", json=asked).raise_for_status().json()
        said = {"response_id": answered["id"], "corrected_answer": better}
        assert http.post("/v1/feedback", json=said).raise_for_status().json()["known"]
    response: str = answered["id"]
    return response


def compared(platform: Platform, file: Path, golden: str) -> dict[str, Any]:
    """Compare both models with two prompts on a golden set."""
    matrix = {
        "goldenSet": golden,
        "models": MODELS,
        "prompts": [{"name": "plain"}, {"name": "brief", "system": "Be brief."}],
        "maxTokens": 8,
    }
    file.write_text(json.dumps(matrix), encoding="utf-8")
    found: dict[str, Any] = json.loads(
        platform.cli("evaluate", "--matrix", str(file), "-o", "json").stdout
    )
    return found
