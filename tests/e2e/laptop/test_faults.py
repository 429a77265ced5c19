"""Parts die; the platform says so, comes back, and loses nothing."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
from pathlib import Path

import httpx
import pytest
from laptop import Platform
from waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
INDEX = "{apiVersion: llmops.nexus/v1alpha1, kind: RagIndex, metadata: {name: handbook}, spec: {}}"


def _pid(platform: Platform, word: str) -> int:
    found = [pid for pid, command in platform.children().items() if word in command]
    assert found, f"no process with {word} in its command line"
    return found[0]


def test_a_runtime_killed_in_mid_stream_ends_with_an_error_and_comes_back(shared: Platform) -> None:
    (shared.documents).mkdir(parents=True, exist_ok=True)
    (shared.documents / "pumps.md").write_text("# Pumps\nPump P1 moves water. " * 40)
    eventually(
        lambda: "indexed" in shared.cli("documents", "--index", "handbook").stdout,
        what="the document is indexed",
    )
    body = {
        "model": "assistant",
        "messages": [{"role": "user", "content": "What does pump P1 move? Write a long story."}],
        "stream": True,
        "max_tokens": 400,
        "min_tokens": 300,
        "ignore_eos": True,
    }
    events: list[str] = []
    with (
        shared.http() as http,
        http.stream("POST", "/v1/chat/completions", json=body) as response,
    ):
        assert response.status_code == 200
        for line in response.iter_lines():
            if not line.startswith("data:"):
                continue
            events.append(line.removeprefix("data:").strip())
            if len(events) == 3:
                os.kill(_pid(shared, "nexus-runtime-llamacpp"), signal.SIGKILL)
    assert "error" in json.loads(events[-1])
    assert "[DONE]" not in events

    def answers() -> bool:
        short = {**body, "stream": False, "max_tokens": 5, "min_tokens": 1, "ignore_eos": False}
        with shared.http() as http:
            answer = http.post("/v1/chat/completions", json=short)
        assert answer.status_code in (200, 502, 503), answer.text
        return answer.status_code == 200

    eventually(answers, what="the runtime is back")


@pytest.mark.parametrize("part", ["nexus-gateway", "nexus-embedder", "milvus-lite"])
def test_a_killed_part_comes_back(shared: Platform, part: str) -> None:
    before = _pid(shared, part)
    os.kill(before, signal.SIGKILL)

    def back() -> bool:
        found = [pid for pid, command in shared.children().items() if part in command]
        if not found or before in found:
            return False
        try:
            return httpx.get(f"{shared.url}/readyz", timeout=5).is_success
        except httpx.HTTPError:
            return False

    eventually(back, what=f"{part} is back and the gateway is ready")
    eventually(
        lambda: shared.cli("search", "pump", "--index", "handbook", ok=False).returncode == 0,
        what="search works again",
    )


def _volume(platform: Platform) -> Path:
    found = [p for p in (platform.root / "node").rglob("milvus") if p.is_dir() and any(p.iterdir())]
    volumes = [p for p in found if "volume" in str(p.parent)]
    assert volumes, found
    return volumes[0]


def _searchable(platform: Platform) -> bool:
    with platform.http() as http:
        answer = http.post("/v1/search", json={"index": "handbook", "query": "ferry timetable"})
    return answer.is_success and bool(answer.json()["hits"])


@pytest.fixture
def filled(platform: Platform) -> Platform:
    platform.cli("apply", "-f", "-", stdin=INDEX)
    platform.documents.mkdir(parents=True)
    (platform.documents / "ferry.md").write_text("# Ferry\nThe ferry timetable changes in May.\n")
    eventually(lambda: _searchable(platform), what="the document is found")
    return platform


def test_lost_vector_files_are_rebuilt_from_the_documents(filled: Platform) -> None:
    volume = _volume(filled)
    filled.stop()
    shutil.rmtree(volume)
    filled.start()
    eventually(lambda: _searchable(filled), what="the document is found after the loss")


def test_damaged_vector_files_are_named_and_can_be_rebuilt(filled: Platform) -> None:
    volume = _volume(filled)
    filled.stop()
    for file in volume.rglob("*.json"):
        file.write_text("garbage")
    filled.start()

    def refusal() -> str:
        with filled.http() as http:
            answer = http.post("/v1/search", json={"index": "handbook", "query": "ferry"})
        assert answer.status_code >= 500
        return str(answer.json()["error"]["message"])

    # Until the vector index has looked at its files, it is only said not to answer.
    eventually(lambda: "not valid JSON" in refusal(), what="the answer says what is wrong")
    eventually(
        lambda: (
            "not valid JSON" in " ".join(filled.cli("describe", "ri", "handbook").stdout.split())
        ),
        what="the condition says what is wrong",
    )
    filled.stop()
    shutil.rmtree(volume)
    filled.start()
    eventually(lambda: _searchable(filled), what="the document is found after the repair")


def test_locked_vector_files_are_named_and_waited_for(tmp_path: Path) -> None:
    platform = Platform(tmp_path / "data")
    volume = platform.root / "node" / "volumes" / "nexus-system" / "milvus"
    volume.mkdir(parents=True)
    with (volume / "LOCK").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        platform.start(until="warning: milvus does not stay up")
    try:
        platform.read_until("ready ")
    finally:
        platform.stop()


def test_nothing_is_left_after_the_platform_is_killed(platform: Platform) -> None:
    assert len(platform.children()) > 3
    platform.stop(signal.SIGKILL)
    eventually(lambda: not platform.children(), what="no orphan is left")
    platform.start()
    first, again = platform.starts
    assert again < 30 + 3 * first, "what was left behind is waited for"


def test_ctrl_c_stops_every_process(platform: Platform) -> None:
    assert platform.stop(signal.SIGINT) == 0
    eventually(lambda: not platform.children(), what="no process is left")
