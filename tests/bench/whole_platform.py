"""The whole platform on this machine: start, first token, whole answer, ingest, peak memory.

Run by `make bench`, or alone: `python tests/bench/whole_platform.py`.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))

from laptop import INDEX, Platform
from waiting import eventually

ROOT = Path(__file__).parents[2]
FILES = 400
ROUNDS = 5
QUESTIONS = (
    "When is the standby pump test-run, and for how long?",
    "How often is a sand filter backwashed?",
    "Who may allow the outflow from the clear water tank again?",
    "What is the target for free chlorine in the clear water tank?",
    "What must I do when the gas detector in the dosing room sounds?",
    "How long does the diesel of the generator last at full load?",
)
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")


def _machine() -> str:
    text = Path("/proc/cpuinfo").read_text()
    flags = [flag for flag in FLAGS if f" {flag}" in text]
    return f"{os.cpu_count()} cores: {' '.join(flags)}"


def _resident(platform: Platform) -> int:
    """Proportional memory of all processes of a platform, in bytes."""
    total = 0
    for pid in platform.children():
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return total


@contextmanager
def _peak(platform: Platform) -> Iterator[list[int]]:
    seen, stop = [0], threading.Event()

    def look() -> None:
        while not stop.wait(0.25):
            seen[0] = max(seen[0], _resident(platform))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def _ask(platform: Platform, question: str) -> tuple[float, float, int]:
    """Seconds to the first token and to the end, and how many tokens the answer has."""
    body = {
        "model": "assistant",
        "messages": [{"role": "user", "content": question}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    began, first, tokens = time.monotonic(), 0.0, 0
    with platform.http() as http, http.stream("POST", "/v1/chat/completions", json=body) as answer:
        for line in answer.iter_lines():
            if not first and '"content":"' in line and '"content":""' not in line:
                first = time.monotonic() - began
            if '"completion_tokens":' in line:
                tokens = int(line.split('"completion_tokens":')[1].split(",")[0].strip(" }"))
    return first, time.monotonic() - began, tokens


def _row(name: str, values: list[float], unit: str) -> None:
    low, middle, high = min(values), statistics.median(values), max(values)
    print(f"{name:<44} {low:8.2f} {middle:8.2f} {high:8.2f} {unit}")


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        _measure(Platform(Path(folder) / "data"))


def _measure(platform: Platform) -> None:
    platform.start()
    try:
        platform.cli("apply", "-f", "-", stdin=INDEX)
        platform.cli("apply", "-f", str(ROOT / "manifests" / "samples" / "assistant.yaml"))
        for what in ("ri/handbook", "sm/assistant"):
            platform.cli("wait", what, "--for", "condition=Ready", "--timeout", "10m")
        with _peak(platform) as peak:
            ingested = _ingest_many(platform)
            platform.cli(
                "ingest", str(files("nexus_local.demo") / "documents"), "--index", "handbook"
            )
            answers = [_ask(platform, question) for question in QUESTIONS]
        starts = []
        for _ in range(ROUNDS):
            platform.stop()
            starts.append(platform.start())
    finally:
        platform.stop()
    print(f"\n{_machine()}\n{'':<44} {'min':>8} {'median':>8} {'max':>8}")
    _row("nexus up, existing index, to ready", starts, "s")
    _row("first token of a cited answer", [first for first, _, _ in answers], "s")
    _row("whole cited answer", [whole for _, whole, _ in answers], "s")
    _row("tokens of an answer", [float(tokens) for _, _, tokens in answers], "")
    _row(f"{FILES} small files to searchable", [ingested], "s")
    _row("files ingested a second", [FILES / ingested], "1/s")
    _row("peak memory of all processes", [peak[0] / (1 << 20)], "MiB")


def _ingest_many(platform: Platform) -> float:
    """Seconds from the first file in the bucket until all can be searched."""
    began = time.monotonic()
    platform.documents.mkdir(parents=True)
    for number in range(FILES):
        text = f"# Note {number}\nBuoy {number} lies at mile {number * 7} and is painted red.\n"
        (platform.documents / f"note-{number:03}.md").write_text(text * 3)
    with platform.http() as http:

        def all_there() -> bool:
            listed = http.get("/v1/indexes/handbook/documents", params={"limit": 1}).json()
            return bool(listed["counts"]["indexed"] == FILES)

        eventually(all_there, what="all files are indexed", seconds=300)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
