"""The hf:// path against a small Hub: a real HTTP server on the loopback."""

import hashlib
import json
import logging
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import close_session

from nexus_models import (
    FetchFailed,
    ModelError,
    ModelFormat,
    ModelNotFound,
    NotAllowed,
    UnsafeModel,
    fetch,
)

TOKEN = "hf_" + "never-to-be-seen"
WEIGHTS = b"weights of the main branch " * 40
OLD_WEIGHTS = b"weights of the first tag " * 40
MAIN, FIRST = "a" * 40, "b" * 40
BERT = {
    "config.json": b'{"model_type": "bert"}',
    "tokenizer.json": b'{"version": "1.0"}',
    "1_Pooling/config.json": b'{"mode": "mean"}',
    "pytorch_model.bin": b"\x80\x04pickle",
    "optimizer.pkl": b"\x80\x04pickle",
    "modeling.py": b"raise SystemExit",
    "../outside.json": b"{}",
}


@dataclass
class Repository:
    """What the Hub holds of one name: the files of every commit, and what bars the way."""

    commits: dict[str, dict[str, bytes]]
    refs: dict[str, str] = field(default_factory=lambda: {"main": MAIN})
    token: str = ""
    listed: bool = False  # a gated repository shows its list of files to everybody
    refusal: tuple[int, str] = (401, "GatedRepo")


@dataclass
class Asked:
    """One request as the server saw it."""

    method: str
    path: str
    host: str
    authorization: str | None


class SmallHub(ThreadingHTTPServer):
    """As much of the Hub's HTTP API as a download needs, with faults to order."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.repositories: dict[str, Repository] = {}
        self.asked: list[Asked] = []
        self.damage: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.broken: int | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def elsewhere(self) -> str:
        """The same server by another host name, as the Hub's content servers are."""
        return f"http://localhost:{self.server_port}"

    def fetched(self) -> set[str]:
        """The files whose content was asked for."""
        return {
            item.path.split("/", 4)[-1]
            for item in self.asked
            if item.method == "GET" and not item.path.startswith("/api/")
        }


class _Answer(BaseHTTPRequestHandler):
    server: SmallHub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base's name
        """Stay silent; the requests are kept for the test instead."""

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        hub = self.server
        hub.asked.append(
            Asked(self.command, self.path, self.headers["Host"], self.headers["Authorization"])
        )
        if hub.broken is not None:
            self._say(hub.broken)
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+?)(/revision/(.+))?", path):
            self._info(found[1], found[3] or "main")
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._resolve(found[1], found[2], found[3])
        elif found := re.fullmatch(r"/content/([^/]+/[^/]+)/([^/]+)/(.+)", path):
            self._content(found[3], hub.repositories[found[1]].commits[found[2]][found[3]], {})
        else:
            self._say(404)

    def _open(
        self, name: str, revision: str, *, listing: bool = False
    ) -> tuple[Repository, str] | None:
        repository = self.server.repositories.get(name)
        if repository is None:
            self._say(404, {"X-Error-Code": "RepoNotFound"})
            return None
        barred = bool(repository.token) and not (listing and repository.listed)
        if barred and self.headers["Authorization"] != f"Bearer {repository.token}":
            status, code = repository.refusal
            self._say(status, {"X-Error-Code": code} if code else {})
            return None
        commit = repository.refs.get(revision, revision)
        if commit not in repository.commits:
            self._say(404, {"X-Error-Code": "RevisionNotFound"})
            return None
        return repository, commit

    def _info(self, name: str, revision: str) -> None:
        opened = self._open(name, revision, listing=True)
        if opened is None:
            return
        repository, commit = opened
        siblings = [_listed(*item) for item in repository.commits[commit].items()]
        body = json.dumps({"id": name, "sha": commit, "siblings": siblings}).encode()
        self._say(200, {"Content-Type": "application/json"}, body)

    def _resolve(self, name: str, revision: str, file: str) -> None:
        opened = self._open(name, revision)
        if opened is None:
            return
        repository, commit = opened
        content = repository.commits[commit].get(file)
        if content is None:
            self._say(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        known = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        if not _is_large(file):
            self._content(file, content, known)
            return
        place = f"{self.server.elsewhere}/content/{name}/{commit}/{file}"
        linked = {"X-Linked-Etag": known["ETag"], "X-Linked-Size": str(len(content))}
        self._say(302, {**known, **linked, "Location": place})

    def _content(self, file: str, content: bytes, headers: dict[str, str]) -> None:
        if self.command == "GET":
            content = self.server.damage.get(file, content)
        if self.command == "GET" and file in self.server.cut:
            # A line that breaks: the answer promises more than comes; a second try is refused.
            self.server.cut.discard(file)
            self.server.broken = 503
            self._say(200, {**headers, "Content-Length": str(len(content))}, content[:100])
            self.close_connection = True
            return
        self._say(200, headers, content)

    def _say(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def _is_large(file: str) -> bool:
    return file.endswith((".safetensors", ".gguf", ".bin"))


def _listed(file: str, content: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"rfilename": file, "size": len(content), "blobId": "c" * 40}
    if _is_large(file):
        digest = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
    return entry


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SmallHub]:
    with SmallHub() as server:
        server.repositories["nexus/bert"] = Repository(
            commits={
                MAIN: {**BERT, "model.safetensors": WEIGHTS},
                FIRST: {"config.json": b"{}", "model.safetensors": OLD_WEIGHTS},
            },
            refs={"main": MAIN, "v1": FIRST},
        )
        server.repositories["nexus/llama"] = Repository(
            commits={MAIN: {"llama.Q4.gguf": b"GGUF four", "llama.Q8.gguf": b"GGUF eight"}}
        )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint + "/")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        close_session()  # the client keeps its connections and its view of the environment
        yield server
        close_session()
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def _kept(folder: Path) -> set[str]:
    """What of a fetch lies in the cache, beside locks and notes."""
    return {item.relative_to(folder).as_posix() for item in folder.rglob("*") if item.is_file()}


def _in_entries(cache: Path) -> list[Path]:
    return list((cache / "entries").rglob("*"))


def test_data_files_come_and_code_is_never_asked_for(hub: SmallHub, cache: Path) -> None:
    model = fetch("hf://nexus/bert", cache=cache)
    wanted = {"config.json", "tokenizer.json", "1_Pooling/config.json", "model.safetensors"}
    assert _kept(model.dir) == wanted
    assert model.format is ModelFormat.SAFETENSORS
    assert model.weights[0].read_bytes() == WEIGHTS
    assert hub.fetched() == {f"{MAIN}/{name}" for name in wanted}
    assert not any("pkl" in item.path or ".bin" in item.path for item in hub.asked)


def test_the_client_alone_brings_what_is_needed(
    hub: SmallHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images hold httpx2, which the Hub's client is built on, and no httpx."""
    monkeypatch.setitem(sys.modules, "httpx", None)
    assert fetch("hf://nexus/bert", cache=cache).weights
    hub.broken = 503
    with pytest.raises(FetchFailed):
        fetch("hf://nexus/bert@v1", cache=cache)


def test_second_fetch_needs_no_hub(hub: SmallHub, cache: Path) -> None:
    first = fetch("hf://nexus/bert", cache=cache)
    hub.broken = 503
    before = len(hub.asked)
    assert fetch("hf://nexus/bert", cache=cache) == first
    assert len(hub.asked) == before


def test_one_gguf_of_several(hub: SmallHub, cache: Path) -> None:
    model = fetch("hf://nexus/llama/llama.Q8.gguf", cache=cache)
    assert model.format is ModelFormat.GGUF
    assert [path.read_bytes() for path in model.weights] == [b"GGUF eight"]
    assert not any("Q4" in item.path for item in hub.asked)


@pytest.mark.parametrize("pin", ["v1", FIRST])
def test_revision_is_resolved_once_and_kept_to(hub: SmallHub, cache: Path, pin: str) -> None:
    model = fetch(f"hf://nexus/bert@{pin}", cache=cache)
    assert model.weights[0].read_bytes() == OLD_WEIGHTS
    assert {name.split("/")[0] for name in hub.fetched()} == {FIRST}
    assert fetch("hf://nexus/bert", cache=cache, revision=pin) == model


@pytest.mark.parametrize(
    "uri",
    [
        "hf://nexus/absent",
        "hf://nexus/bert@v9",
        "hf://nexus/bert/other.safetensors",
        "hf://nexus/two..dots",
    ],
)
def test_what_is_not_there_is_named(hub: SmallHub, cache: Path, uri: str) -> None:
    with pytest.raises(ModelNotFound, match="hf://nexus/") as caught:
        fetch(uri, cache=cache)
    assert not caught.value.transient
    assert hub.fetched() == set()
    assert _in_entries(cache) == []


@pytest.mark.parametrize("refusal", [(401, "GatedRepo"), (403, "GatedRepo"), (401, ""), (403, "")])
def test_closed_repository_asks_for_a_token(
    hub: SmallHub, cache: Path, refusal: tuple[int, str]
) -> None:
    hub.repositories["nexus/bert"].token = "another"
    hub.repositories["nexus/bert"].refusal = refusal
    with pytest.raises(NotAllowed, match="HF_TOKEN") as caught:
        fetch("hf://nexus/bert", cache=cache)
    assert not caught.value.transient
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("refusal", [(403, "GatedRepo"), (403, ""), (401, "")])
def test_gate_in_front_of_the_files_alone(
    hub: SmallHub, cache: Path, refusal: tuple[int, str]
) -> None:
    repository = hub.repositories["nexus/bert"]
    repository.token, repository.listed, repository.refusal = "another", True, refusal
    with pytest.raises(NotAllowed, match="HF_TOKEN"):
        fetch("hf://nexus/bert", cache=cache)
    assert _in_entries(cache) == []


def test_repository_of_pickles_is_refused(hub: SmallHub, cache: Path) -> None:
    del hub.repositories["nexus/bert"].commits[MAIN]["model.safetensors"]
    with pytest.raises(UnsafeModel):
        fetch("hf://nexus/bert", cache=cache)
    assert hub.fetched() == set()


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_short_file_is_damaged_and_nothing_stays(hub: SmallHub, cache: Path, file: str) -> None:
    hub.damage[file] = b"short"
    _fails_then_recovers(hub, cache)


def test_other_bytes_of_the_same_length_are_damaged(hub: SmallHub, cache: Path) -> None:
    hub.damage["model.safetensors"] = WEIGHTS[:-1] + b"?"
    assert "sha256" in str(_fails_then_recovers(hub, cache))


def test_line_that_breaks_is_passing_trouble(hub: SmallHub, cache: Path) -> None:
    hub.cut.add("model.safetensors")
    _fails_then_recovers(hub, cache)


@pytest.mark.parametrize("status", [500, 503])
def test_hub_in_trouble_is_passing_trouble(hub: SmallHub, cache: Path, status: int) -> None:
    hub.broken = status
    _fails_then_recovers(hub, cache)


def test_answer_that_is_no_json_is_passing_trouble(
    hub: SmallHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that shows a page of its own instead."""
    monkeypatch.setattr(_Answer, "_info", lambda self, *_: self._say(200, None, b"<html>"))
    with pytest.raises(FetchFailed):
        fetch("hf://nexus/bert", cache=cache)


def _fails_then_recovers(hub: SmallHub, cache: Path) -> ModelError:
    with pytest.raises(FetchFailed, match="hf://nexus/bert") as caught:
        fetch("hf://nexus/bert", cache=cache)
    assert caught.value.transient
    assert _in_entries(cache) == []
    hub.damage.clear()
    hub.broken = None
    assert fetch("hf://nexus/bert", cache=cache).weights[0].read_bytes() == WEIGHTS
    return caught.value


def test_nobody_listens(hub: SmallHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SmallHub() as closed:
        endpoint = closed.endpoint
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(FetchFailed):
        fetch("hf://nexus/bert", cache=cache)
    assert hub.asked == []


def test_token_goes_to_the_hub_alone_and_into_no_log(
    hub: SmallHub, cache: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    hub.repositories["nexus/bert"].token = TOKEN
    with caplog.at_level(logging.DEBUG):
        fetch("hf://nexus/bert", cache=cache)
    by_hub = {item.authorization for item in hub.asked if item.host.startswith("127.")}
    elsewhere = {item.authorization for item in hub.asked if item.host.startswith("localhost")}
    assert by_hub == {f"Bearer {TOKEN}"}
    assert elsewhere == {None}
    assert not any(TOKEN in item.path for item in hub.asked)
    shown = capfd.readouterr()
    assert TOKEN not in caplog.text + shown.out + shown.err
    stored = [path for path in cache.rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in path.read_bytes() for path in stored)
