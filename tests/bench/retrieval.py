"""Retrieval quality on XQuAD: paragraphs as documents, hits collapsed to documents.

Run it with the directory of the data sets in NEXUS_TEST_DATA (default ../shared/data); every part
is real: embedder, Milvus Lite, ledger, Retriever.  Prints hit@5, MRR and nDCG@10 of each mode and
language on a development and a held-out half (split by article), the latency of one query, and
what the relevance threshold keeps and refuses.

    .venv/bin/python tests/bench/retrieval.py [en de es]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))

from ports import free_ports

from nexus_api.ragindex import RagIndexSpec
from nexus_knowledge.chunks import Chunk
from nexus_knowledge.embedding import EmbedderClient
from nexus_knowledge.ids import chunk_id
from nexus_knowledge.ledger import Ledger, Listed, Ready, upgrade
from nexus_knowledge.retrieval import Hit
from nexus_knowledge.retrieval.retriever import MODES, Retriever
from nexus_knowledge.vectors import VectorIndex, open_index
from nexus_pipelines.chunk.core import ChunkLimits, chunk
from nexus_pipelines.chunk.tokens import TextTokenizer
from nexus_pipelines.parse.document import Parsed

DATA = Path(os.environ.get("NEXUS_TEST_DATA", "../shared/data"))
DEPTH = 30  # chunks fetched, so that ten documents are left
BATCH = 64  # queries in one call


@dataclass(frozen=True)
class Questions:
    """Questions with their paragraph and the half of the articles that they belong to."""

    texts: list[str]
    gold: list[str]
    held_out: np.ndarray


@contextmanager
def child(name: str, arguments: Sequence[str], environment: dict[str, str]) -> Iterator[None]:
    command = [str(Path(sys.executable).with_name(name)), *arguments]
    with subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
        finally:
            process.terminate()


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz", timeout=2).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"{url} did not become ready")


def paragraphs(language: str) -> tuple[dict[str, str], Questions]:
    data = json.loads((DATA / "qa" / f"xquad.{language}.json").read_text())["data"]
    documents: dict[str, str] = {}
    texts, gold, held_out = [], [], []
    for article, entry in enumerate(data):
        for paragraph in entry["paragraphs"]:
            path = f"{article:02}/{len(documents):03}.txt"
            documents[path] = paragraph["context"]
            for question in paragraph["qas"]:
                texts.append(question["question"])
                gold.append(path)
                held_out.append(article % 2 == 1)
    return documents, Questions(texts, gold, np.array(held_out))


def ingest(
    language: str,
    documents: dict[str, str],
    ledger: Ledger,
    vectors: VectorIndex,
    embedder: EmbedderClient,
    tokenizer: TextTokenizer,
) -> int:
    token = ledger.begin_listing("bench", language, "u")
    listing = [Listed(path, path, "1", len(text), 0.0) for path, text in documents.items()]
    plan = ledger.plan_sync("bench", language, "u", fingerprint="f", listing=listing, token=token)
    chunks: list[Chunk] = []
    outcomes = []
    for item in plan.work:
        text = documents[item.path]
        spans = list(chunk(Parsed("text", text), tokenizer, ChunkLimits()))
        outcomes.append(Ready(item.document_id, item.generation, len(spans)))
        chunks += [
            Chunk(
                chunk_id=chunk_id("bench", language, item.document_id, item.generation, ordinal),
                document_id=item.document_id,
                document=item.path,
                generation=item.generation,
                ordinal=ordinal,
                text=text[span.start : span.end],
                start=span.start,
                end=span.end,
            )
            for ordinal, span in enumerate(spans)
        ]
    matrix = embedder.embed([one.content for one in chunks])
    vectors.ensure_collection(plan.collection, matrix.shape[1])
    vectors.upsert(plan.collection, chunks, matrix)
    vectors.flush(plan.collection)
    ledger.settle("bench", language, outcomes, collection=plan.collection)
    ledger.publish("bench", language, "u", collection=plan.collection)
    return len(chunks)


def figures(ranks: np.ndarray) -> str:
    hit, reciprocal = np.mean(ranks <= 5), np.mean(1 / ranks)
    gain = np.mean(np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0))
    return f"{hit:.3f}  {reciprocal:.3f}  {gain:.3f}"


def rank(hits: list[Hit], gold: str) -> float:
    order = list(dict.fromkeys(hit.document for hit in hits))
    return order.index(gold) + 1 if gold in order else float("inf")


def measure(language: str, retriever: Retriever, questions: Questions) -> list[float]:
    """Print the table of one language; return the best cosine of each question."""
    spec, best = RagIndexSpec(), []
    for mode in MODES:
        results: list[list[Hit]] = []
        for first in range(0, len(questions.texts), BATCH):
            some = questions.texts[first : first + BATCH]
            results += retriever.search("bench", language, spec, some, top_k=DEPTH, mode=mode)
        ranks = np.array([rank(*pair) for pair in zip(results, questions.gold, strict=True)])
        times = []
        for text in questions.texts[:40]:
            started = time.perf_counter()
            retriever.search("bench", language, spec, [text], mode=mode)
            times.append(time.perf_counter() - started)
        dev, test = ranks[~questions.held_out], ranks[questions.held_out]
        print(
            f"{language}  {mode:7} {figures(ranks)}   {figures(dev)}   {figures(test)}"
            f"   {1000 * np.median(times):6.0f}",
            flush=True,
        )
        if mode == "dense":
            best = [hits[0].dense_score or 0.0 for hits in results]
    return best


def foreign_questions() -> list[str]:
    data = json.loads((DATA / "qa" / "policyqa.dev.json").read_text())["data"]
    texts = {q["question"] for a in data for p in a["paragraphs"] for q in p["qas"]}
    return sorted(texts)[::5][:300]


def main(languages: Sequence[str]) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cache = os.environ.get("NEXUS_MODEL_CACHE", str(folder / "models"))
        milvus, port = free_ports(2)
        arguments = ["server", "--data-dir", str(folder / "vectors"), "--host", "127.0.0.1"]
        stack.enter_context(child("milvus-lite", [*arguments, "--port", str(milvus)], {}))
        stack.enter_context(
            child("nexus-embedder", ["--port", str(port)], {"NEXUS_MODEL_CACHE": cache})
        )
        wait_until_ready(f"http://127.0.0.1:{port}")
        url = f"sqlite:///{folder / 'ledger.db'}"
        upgrade(url)
        ledger = stack.enter_context(Ledger(url))
        vectors = open_index(f"http://127.0.0.1:{milvus}")
        embedder = stack.enter_context(EmbedderClient(f"http://127.0.0.1:{port}"))
        retriever = Retriever(ledger, vectors, embedder)
        tokenizer = TextTokenizer.load(next(Path(cache).rglob("tokenizer.json")).parent)
        columns = "hit@5  MRR    nDCG@10"
        print(f"             {columns} | {columns} (dev) | {columns} (held out) | ms/query")
        foreign = foreign_questions()
        kept = []
        for language in languages:
            documents, questions = paragraphs(language)
            ingest(language, documents, ledger, vectors, embedder, tokenizer)
            best = np.array(measure(language, retriever, questions))
            hits = retriever.search("bench", language, RagIndexSpec(), foreign, mode="dense")
            other = np.array([found[0].dense_score for found in hits], dtype=float)
            kept += [
                f"{language}  minScore {threshold:.2f}: {np.mean(best >= threshold):.3f} of its own"
                f" questions kept, {np.mean(other < threshold):.3f} of foreign ones refused"
                for threshold in (0.2, 0.25, 0.3, 0.35, 0.4)
            ]
        print("\n".join(kept))
        retriever.close()
        vectors.close()


if __name__ == "__main__":
    main(sys.argv[1:] or ["en", "de", "es"])
