"""A person's experiments on the laptop, every part real, on a language model of two layers.

Answers are corrected, the corrections become a golden set, two prompts are compared on it beside
the baseline, and their runs item by item.
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

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def test_corrections_become_a_golden_set_on_which_prompts_are_compared(
    platform: Platform, tmp_path: Path
) -> None:
    serve(platform, tiny_gguf(tiny_model(tmp_path / "model"), tmp_path / "tiny.gguf"))
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
    assert [one["model"] for one in found["runs"]] == ["baseline", "student", "student"]
    names = [one["run"] for one in found["runs"]]
    told = platform.cli("diff", names[0], names[2]).stdout.splitlines()
    assert told[0].startswith("2 items by f1: ")
    page = httpx.get(found["report"], timeout=30).raise_for_status()
    assert "Gain over the baseline" in page.text
    reports = httpx.get(f"{platform.url}/v1/reports", timeout=30).json()["reports"]
    assert [one["run"] for one in reports] == [found["experiment"]]


def serve(platform: Platform, base: Path) -> None:
    """Serve a model without an index."""
    student = {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "ServingModel",
        "metadata": {"name": "student"},
        "spec": {"model": {"uri": base.as_uri()}, "runtime": {"contextTokens": 512}},
    }
    platform.cli("apply", "-f", "-", stdin=json.dumps(student))
    platform.cli("wait", "sm/student", "--for", "condition=Ready", "--timeout", "4m")
    with platform.http() as http:  # the gateway hears of it a moment later
        eventually(
            lambda: http.get("/v1/models/student").json().get("ready"), what="it is asked for"
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
    """Compare two prompts on a golden set."""
    matrix = {
        "goldenSet": golden,
        "models": ["student"],
        "prompts": [{"name": "plain"}, {"name": "brief", "system": "Be brief."}],
        "maxTokens": 8,
    }
    file.write_text(json.dumps(matrix), encoding="utf-8")
    found: dict[str, Any] = json.loads(
        platform.cli("evaluate", "--matrix", str(file), "-o", "json").stdout
    )
    return found
