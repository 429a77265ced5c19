"""SIGKILL of the whole platform, five times during one ingest: every file is there once."""

from __future__ import annotations

import collections
import json
import signal

import pytest
from laptop import Platform
from waiting import eventually

pytestmark = pytest.mark.e2e
FILES = 400
INDEX = "{apiVersion: llmops.nexus/v1alpha1, kind: RagIndex, metadata: {name: handbook}, spec: {}}"


def _write(platform: Platform) -> None:
    platform.documents.mkdir(parents=True)
    for number in range(FILES):
        text = f"# Note {number}\nBuoy {number} lies at mile {number * 7} and is painted red.\n"
        (platform.documents / f"note-{number:03}.md").write_text(text)


def _counts(platform: Platform) -> dict[str, int]:
    with platform.http() as http:
        answer = http.get("/v1/indexes/handbook/documents", params={"limit": 1})
    return dict(answer.json()["counts"]) if answer.is_success else {}


def _running(platform: Platform, step: str) -> bool:
    """Whether a process of that pipeline step runs now."""
    return any(
        "nexus-pipelines" in command and f" {step} " in command
        for command in platform.children().values()
    )


@pytest.mark.timeout(900)
def test_five_kills_during_one_ingest_leave_every_file_once(platform: Platform) -> None:
    platform.cli("apply", "-f", "-", stdin=INDEX)
    platform.cli("wait", "ri/handbook", "--for", "condition=Ready", "--timeout", "2m")
    _write(platform)
    for step in ("sync-plan", "ingest", "ingest", "ingest", "publish"):
        eventually(lambda step=step: _running(platform, step), what=f"{step} runs", seconds=180)
        platform.stop(signal.SIGKILL)
        eventually(lambda: not platform.children(), seconds=15, what="no orphan is left")
        platform.start()
    eventually(
        lambda: _counts(platform).get("indexed") == FILES and not _counts(platform)["pending"],
        seconds=300,
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
    status = json.loads(platform.cli("get", "ri/handbook", "-o", "json").stdout)["status"]
    assert status["documents"]["indexed"] == FILES
    assert status["chunks"] == FILES
