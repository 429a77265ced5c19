"""How well `support` tells answers that the passages carry from changed ones, on XQuAD.

Pairs of a true text and the same text changed, each against the same paragraph: another number,
another name, another paragraph, a negation.  Prints the AUROC (the chance that the true one scores
higher) of support, and of the similarity of embeddings alone, in English; then, by language, how
many texts the monitor calls supported, each beside four paragraphs as in a prompt.  The embedder is
the real one.

    .venv/bin/python tests/bench/support.py [questions]
"""

import json
import os
import random
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ports import free_port
from retrieval import DATA, child, wait_until_ready
from scipy.stats import rankdata

from nexus_evaluation.metrics.support import Embed, Vectors, sentences, support
from nexus_knowledge.embedding import EmbedderClient
from nexus_monitor.supported import SUPPORTED

NUMBER = re.compile(r"\d+")
VERB = re.compile(r"\b(is|was|are|were|has|had|can|will)\b")


class Pair(NamedTuple):
    """A text that its paragraph carries, and one that its paragraph does not."""

    kind: str
    true: str
    false: str
    paragraph: str
    other: str  # paragraph of the false text


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    found = list(pairs(count))
    with tempfile.TemporaryDirectory() as folder:
        cache = os.environ.get("NEXUS_MODEL_CACHE", str(Path(folder) / "models"))
        port = free_port()
        with child("nexus-embedder", ["--port", str(port)], {"NEXUS_MODEL_CACHE": cache}):
            wait_until_ready(f"http://127.0.0.1:{port}")
            with EmbedderClient(f"http://127.0.0.1:{port}") as client:
                embed = kept(client.embed)
                report(found, embed)
                report_supported(count, embed)


def pairs(count: int) -> Iterator[Pair]:
    asked, chance = questions("en"), random.Random(0)
    for context, question, answer in chance.sample(asked, min(count, len(asked))):
        told = f"{question}: {answer}."
        elsewhere, _, other = chance.choice(asked)
        if elsewhere != context:
            yield Pair("another paragraph", told, told, context, elsewhere)
        if number := NUMBER.search(answer):
            changed = str(int(number.group()) + chance.randrange(1, 9))
            false = answer.replace(number.group(), changed, 1)
            yield Pair("another number", told, f"{question}: {false}.", context, context)
        elif answer[:1].isupper() and other[:1].isupper() and other not in context:
            yield Pair("another name", told, f"{question}: {other}.", context, context)
        stated = next((one for one in sentences(context) if answer in one), "")
        if VERB.search(stated):
            # Beside a word that changes nothing: a sentence taken word for word would always win.
            said = VERB.sub(r"\1 indeed", stated, count=1)
            negated = VERB.sub(r"\1 not", stated, count=1)
            yield Pair("a negation", said, negated, context, context)


def kept(embed: Embed) -> Embed:
    """Embed each text once."""
    known: dict[str, np.ndarray] = {}

    def embedding(texts: Sequence[str]) -> Vectors:
        if new := list(dict.fromkeys(text for text in texts if text not in known)):
            known.update(zip(new, embed(new), strict=True))
        return np.array([known[text] for text in texts], dtype=np.float32)

    return embedding


def report(found: Sequence[Pair], embed: Embed) -> None:
    print("| change | pairs | AUROC of support | of similarity alone |\n| --- | --- | --- | --- |")
    for kind in dict.fromkeys(pair.kind for pair in found):
        part = [pair for pair in found if pair.kind == kind]
        true = [support(pair.true, [pair.paragraph], embed) for pair in part]
        false = [support(pair.false, [pair.other], embed) for pair in part]
        cells = []
        readings: tuple[Callable[..., float], ...] = (
            lambda one: one.score,
            lambda one: one.similarity,
        )
        for reading in readings:
            cells.append(auroc([reading(one) for one in true], [reading(one) for one in false]))
        print(f"| {kind} | {len(part)} | {cells[0]:.3f} | {cells[1]:.3f} |", flush=True)


def report_supported(count: int, embed: Embed) -> None:
    print(f"\n| language | text | texts | support from {SUPPORTED} on |\n| --- | --- | --- | --- |")
    for language in ("en", "de", "es"):
        asked, chance = questions(language), random.Random(0)
        contexts = sorted({context for context, _, _ in asked})
        told: dict[str, list[bool]] = {}
        for context, question, answer in chance.sample(asked, min(count, len(asked))):
            others = chance.sample([one for one in contexts if one != context], 4)
            ours = [context, *others[:3]]
            for kind, text, passages in (
                ("question and answer", f"{question}: {answer}.", ours),
                ("the answer's words alone", f"{answer}.", ours),
                ("question and answer, foreign paragraphs", f"{question}: {answer}.", others),
            ):
                score = support(text, passages, embed).score
                told.setdefault(kind, []).append(score >= SUPPORTED)
        for kind, found in told.items():
            print(f"| {language} | {kind} | {len(found)} | {np.mean(found):.0%} |", flush=True)


def questions(language: str) -> list[tuple[str, str, str]]:
    """Return paragraph, question and answer of each item."""
    data = json.loads((DATA / "qa" / f"xquad.{language}.json").read_text())["data"]
    return [
        (part["context"], question["question"].strip(" ?¿"), question["answers"][0]["text"])
        for entry in data
        for part in entry["paragraphs"]
        for question in part["qas"]
    ]


def auroc(true: Sequence[float], false: Sequence[float]) -> float:
    """The chance that a true text scores above a false one, ties half (Mann and Whitney)."""
    ranks = rankdata([*true, *false])[: len(true)].sum()
    return float((ranks - len(true) * (len(true) + 1) / 2) / (len(true) * len(false)))


if __name__ == "__main__":
    main()
