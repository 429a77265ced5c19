"""Questions to a served model: those that it was measured by, and one that a person corrects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from laptop import Platform

from nexus_api.release import UNIT_FILE, ReleasableUnit
from nexus_evaluation import golden, results

ASKED = 3
"""Questions of the golden set that are asked again."""


@dataclass(frozen=True)
class Measured:
    """What an evaluation was answered, by question, and the unit that answered."""

    unit: ReleasableUnit
    answers: Mapping[str, str]


def measured(champion: Mapping[str, Any]) -> Measured:
    """Read a champion's folder: the first golden items, which are asked without passages."""
    folder = Path(httpx.URL(champion["uri"]).path)
    unit = ReleasableUnit.model_validate_json((folder / UNIT_FILE).read_bytes())
    told = results.read((folder / "candidate.jsonl").read_bytes())
    answers = {one.id: one.answer for one in told}
    items = golden.read((folder / "golden.jsonl").read_bytes()).items[:ASKED]
    assert len(items) == ASKED
    assert not any(item.contexts for item in items)
    return Measured(unit, {item.question: answers[item.id] for item in items})


def served(platform: Platform, model: str, like: Measured) -> dict[str, str]:
    """Ask the gateway what was asked in the evaluation, at the unit's settings.

    Returns answers by question; a refusal stands as its text.
    """
    settings = {"temperature": float(like.unit.temperature), "max_tokens": like.unit.max_tokens}
    with platform.http() as http:
        return {
            question: _text(
                http.post(
                    "/v1/chat/completions",
                    json={
                        "model": model,
                        "messages": [{"role": "user", "content": question}],
                        **settings,
                    },
                )
            )
            for question in like.answers
        }


def correct(platform: Platform, model: str) -> None:
    """Ask a model, and say what it should have answered."""
    messages = [{"role": "user", "content": "Who looks after the tenth pump?"}]
    asked = {"model": model, "messages": messages, "max_tokens": 4}
    with platform.http() as http:
        response = http.post("/v1/chat/completions", json=asked, timeout=120).raise_for_status()
        said = {"response_id": response.json()["id"]}
        said["corrected_answer"] = "the night shift looks after the tenth pump"
        assert http.post("/v1/feedback", json=said).raise_for_status().json()["known"]


def _text(response: httpx.Response) -> str:
    if response.status_code != httpx.codes.OK:
        return f"{response.status_code}: {response.text}"
    text: str = response.json()["choices"][0]["message"]["content"]
    return text
