"""How well a model answers from the demo's documents, over the HTTP API of a running platform.

Asks every question of answers.yaml once, one after the other, with the resource's own settings,
and prints for both halves: right and wrong answers, those refused though the texts hold the
answer, foreign questions that were answered, mean tokens and seconds.  Nothing passes or fails.

    python tests/bench/answers.py --url http://127.0.0.1:8080 [--model assistant] [--half tune] [-v]
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

QUESTIONS = Path(__file__).with_suffix(".yaml")
REFUSAL = "I found nothing about this in the documents"
TIMEOUT = 120.0  # seconds for one answer
HALVES = ("tune", "held out")


@dataclass(frozen=True)
class Asked:
    """One question; `accept` is empty when the texts do not answer it."""

    number: int
    ask: str
    accept: tuple[str, ...] = ()

    @property
    def half(self) -> str:
        return HALVES[self.number % 2 == 0]


@dataclass(frozen=True)
class Outcome:
    """What came back for a question."""

    asked: Asked
    answer: str
    tokens: int
    seconds: float

    @property
    def refused(self) -> bool:
        return self.answer.startswith(REFUSAL)

    @property
    def right(self) -> bool:
        if not self.asked.accept:
            return self.refused
        return any(holds(self.answer, phrase) for phrase in self.asked.accept)

    @property
    def verdict(self) -> str:
        return "right" if self.right else "refused" if self.refused else "wrong"


def holds(answer: str, phrase: str) -> bool:
    """Tell whether a phrase stands in an answer as whole words or numbers."""
    return bool(re.search(rf"(?<![\w.,:]){re.escape(phrase)}(?!\w|[.,:]\d)", answer, re.IGNORECASE))


def questions() -> list[Asked]:
    """Return the questions, answerable ones first; each group is numbered from 1."""
    data = yaml.safe_load(QUESTIONS.read_text(encoding="utf-8"))
    known = [
        Asked(number, one["ask"], tuple(one["accept"]))
        for number, one in enumerate(data["answerable"], 1)
    ]
    return known + [Asked(number, text) for number, text in enumerate(data["foreign"], 1)]


def ask(client: httpx.Client, model: str, asked: Asked) -> Outcome:
    """Ask one question; raises httpx.HTTPStatusError when the platform refuses to answer."""
    began = time.perf_counter()
    reply = client.post(
        "/v1/chat/completions",
        json={"model": model, "messages": [{"role": "user", "content": asked.ask}]},
    )
    reply.raise_for_status()
    body = reply.json()
    return Outcome(
        asked,
        body["choices"][0]["message"]["content"],
        body["usage"]["completion_tokens"],
        time.perf_counter() - began,
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the figures of each half and of both."""
    lines = ["            right  wrong  refused wrongly  answered wrongly  tokens  seconds"]
    for half in (*HALVES, "both"):
        some = [one for one in outcomes if half in {one.asked.half, "both"}]
        known = [one for one in some if one.asked.accept]
        foreign = [one for one in some if not one.asked.accept]
        if not known:
            continue
        said = [one.tokens for one in known if not one.refused] or [0]
        right = sum(one.right for one in known)
        refused = sum(one.verdict == "refused" for one in known)
        answered = sum(not one.refused for one in foreign)
        lines.append(
            f"{half:9} {right:3} of {len(known):2}  {len(known) - right - refused:5}"
            f"  {refused:15}  {answered:8} of {len(foreign):2}"
            f"     {statistics.mean(said):6.1f}"
            f"  {statistics.mean(one.seconds for one in known):7.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Read the command line, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", default="assistant")
    parser.add_argument("--half", choices=HALVES)
    parser.add_argument("-v", "--verbose", action="store_true", help="print each answer")
    options = parser.parse_args()
    outcomes = []
    with httpx.Client(base_url=options.url, timeout=TIMEOUT) as client:
        for asked in questions():
            if options.half in {None, asked.half}:
                outcome = ask(client, options.model, asked)
                outcomes.append(outcome)
                if options.verbose:
                    verdict = f"{outcome.verdict:8}{outcome.tokens:4}"
                    print(
                        f"{verdict}  {asked.ask}\n              -> {outcome.answer!r}", flush=True
                    )
    print(table(outcomes))


if __name__ == "__main__":
    main()
