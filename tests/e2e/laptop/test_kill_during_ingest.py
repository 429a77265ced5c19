"""SIGKILL of the whole platform, five times during one ingest: every file is there once."""

from __future__ import annotations

import collections
import itertools
import json
import signal
import time
from collections.abc import Iterator

import pytest
from laptop import Platform
from waiting import eventually

pytestmark = pytest.mark.e2e
FILES = 400
AGAIN_SECONDS = 30
INDEX = "{apiVersion: llmops.nexus/v1alpha1, kind: RagIndex, metadata: {name: handbook}, spec: {}}"


def _write(platform: Platform, version: int) -> None:
    platform.documents.mkdir(parents=True, exist_ok=True)
    for number in range(FILES):
        text = f"# Note {number}\nBuoy {number} lies at mile {number * 7} and is painted red.\n"
        text += f"Version {version}.\n"
        (platform.documents / f"note-{number:03}.md").write_text(text)


def _counts(platform: Platform) -> dict[str, int]:
    with platform.http() as http:
        answer = http.get("/v1/indexes/handbook/documents", params={"limit": 1})
    return dict(answer.json()["counts"]) if answer.is_success else {}


def _running(platform: Platform, step: str) -> bool:
    """Whether a process of that step runs now, by the node's own notes: a step that was held ready
    in memory has the command line of what held it."""
    for note in (platform.root / "node" / "processes").iterdir():
        try:
            pod = json.loads(note.read_text())["pod"]
        except (FileNotFoundError, ValueError):  # it has just ended, or just begun
            continue
        if "-sync-" in pod and f"-{step}-" in pod:
            return True
    return False


def _await_step(platform: Platform, step: str, versions: Iterator[int]) -> None:
    """Wait until a process of that step runs.

    One may be over before anybody looked: the files are changed then, and it comes again.
    """
    changed = time.monotonic()

    def runs() -> bool:
        nonlocal changed
        if time.monotonic() - changed > AGAIN_SECONDS:
            _write(platform, next(versions))
            changed = time.monotonic()
        return _running(platform, step)

    eventually(runs, what=f"{step} runs", seconds=10 * AGAIN_SECONDS, pause=0.01)


@pytest.mark.timeout(1800)
def test_five_kills_during_one_ingest_leave_every_file_once(platform: Platform) -> None:
    platform.cli("apply", "-f", "-", stdin=INDEX)
    platform.cli("wait", "ri/handbook", "--for", "condition=Ready", "--timeout", "2m")
    versions = itertools.count(1)
    _write(platform, next(versions))
    for step in ("plan", "ingest", "ingest", "ingest", "publish"):
        _await_step(platform, step, versions)
        platform.stop(signal.SIGKILL)
        eventually(lambda: not platform.children(), what="no orphan is left")
        platform.start()
    eventually(
        lambda: (seen := _counts(platform)).get("indexed") == FILES and not seen["pending"],
        seconds=600,
        what="all files are indexed",
    )
    eventually(lambda: not _running(platform, "publish"), what="the last run has ended")
    _each_once(platform)


def _each_once(platform: Platform) -> None:
    """Ask for every file by its own words: exactly one passage of it, from exactly one document."""
    queries = [f"Buoy {number} lies at mile {number * 7}" for number in range(FILES)]
    seen: collections.Counter[str] = collections.Counter()
    with platform.http() as http:
        for start in range(0, FILES, 50):
            body = {"index": "handbook", "queries": queries[start : start + 50], "mode": "bm25",
                    "top_k": 20}  # fmt: skip
            for result in http.post("/v1/search", json=body).json()["results"]:
                chunks = [hit["chunk_id"] for hit in result["hits"]]
                assert len(chunks) == len(set(chunks))
                seen.update({hit["document"]: 1 for hit in result["hits"]}.keys())
                texts = collections.Counter(hit["text"] for hit in result["hits"])
                assert max(texts.values()) == 1, texts.most_common(2)
        listed = http.get("/v1/indexes/handbook/documents", params={"limit": 500}).json()
    documents = listed["documents"]
    assert len(documents) == FILES
    assert len({d["document"] for d in documents}) == FILES
    assert {d["state"] for d in documents} == {"indexed"}
    assert set(seen) == {f"note-{number:03}.md" for number in range(FILES)}
    eventually(lambda: _told(platform) == (FILES, FILES), what="the status tells of every file")


def _told(platform: Platform) -> tuple[int, int]:
    """How many documents and chunks the status tells of, a moment after the run that made them."""
    status = json.loads(platform.cli("get", "ri/handbook", "-o", "json").stdout)["status"]
    return status["documents"]["indexed"], status["chunks"]
