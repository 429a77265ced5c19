"""An adapter goes live, is replaced and comes back, while the model answers all the time.

The status of the FineTuneJob is set by hand here, as its releases set it; the run that makes the
versions has tests of its own.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from damaged_gguf import spoil
from laptop import Platform
from tiny_adapter import tiny_adapter, tiny_base
from waiting import eventually

from nexus_api.release import ADAPTER_FILES, adapter_digest
from nexus_local.platform.layout import Layout
from nexus_models.files import sha256_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

STATUS = "/apis/llmops.nexus/v1alpha1/namespaces/default/finetunejobs/tuned/status"
ASK = {
    "messages": [{"role": "user", "content": "How often does the operator check the pump?"}],
    "max_tokens": 24,
    "temperature": 0,
}


class Versions:
    """The base, and versions of its adapter as `register` leaves them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.model, self.base = tiny_base(root)

    def make(self, number: int) -> dict[str, str]:
        """Make a version, and return how the job's status tells of it."""
        folder = self.folder(number)
        if not folder.exists():
            tiny_adapter(self.model, self.base, folder, seed=number)
        digest = adapter_digest({name: sha256_of(folder / name) for name in ADAPTER_FILES})
        return {"version": str(number), "uri": f"file://{folder}/", "digest": digest}

    def folder(self, number: int) -> Path:
        return self.root / f"version-{number}"

    def release(self, platform: Platform, champion: dict[str, str]) -> None:
        """Make a version the champion, in the job's status."""
        control = json.loads(Layout(platform.root).control.read_text())
        answer = httpx.patch(
            control["url"] + STATUS,
            json={"status": {"champion": champion}},
            headers={
                "authorization": f"Bearer {control['token']}",
                "content-type": "application/merge-patch+json",
            },
            timeout=30,
        )
        assert answer.status_code == 200, answer.text


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    return Versions(tmp_path / "versions")


@pytest.fixture
def adapted(platform: Platform, versions: Versions) -> Platform:
    """A platform with the tiny model, whose adapter follows a job that has released nothing."""
    job = {
        "apiVersion": "llmops.nexus/v1alpha1", "kind": "FineTuneJob",
        "metadata": {"name": "tuned"},
        "spec": {
            "baseModel": {"uri": f"file://{versions.base}"},
            "data": {"files": {"prefix": "default/training/"}},
            "suspend": True,
        },
    }  # fmt: skip
    model = {
        "apiVersion": "llmops.nexus/v1alpha1", "kind": "ServingModel",
        "metadata": {"name": "tiny"},
        "spec": {
            "model": {
                "uri": f"file://{versions.base}",
                "adapters": [{"name": "polite", "uri": "models:/default.tuned@champion"}],
            },
            "runtime": {"contextTokens": 512},
        },
    }  # fmt: skip
    platform.cli("apply", "-f", "-", stdin=json.dumps(job))
    platform.cli("apply", "-f", "-", stdin=json.dumps(model))
    platform.cli("wait", "sm/tiny", "--for", "condition=Ready", "--timeout", "5m")
    with platform.http() as http:  # the gateway hears of it a moment later
        eventually(lambda: http.get("/v1/models/tiny").json().get("ready"), what="it is asked for")
    return platform


def resource(platform: Platform) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(platform.cli("get", "sm/tiny", "-o", "json").stdout)
    return found


def answer(platform: Platform, model: str) -> str:
    with platform.http() as http:
        told = http.post("/v1/chat/completions", json={**ASK, "model": model})
    assert told.status_code == 200, told.text
    text: str = told.json()["choices"][0]["message"]["content"]
    return text


def live_version(platform: Platform) -> str:
    adapters = resource(platform)["status"].get("adapters") or [{"version": ""}]
    return str(adapters[0]["version"])


def another(platform: Platform, known: set[str]) -> str:
    """Return an answer with the adapter that is none of those known, once there is one."""

    def new() -> str:
        told = answer(platform, "tiny:polite")
        return "" if told in known else told

    return eventually(new, what="another answer")


def await_version(platform: Platform, number: int) -> None:
    eventually(
        lambda: live_version(platform) == str(number), what=f"version {number} is live", seconds=180
    )
    # The gateway hears of it in the same moment, not before.
    with platform.http() as http:
        eventually(
            lambda: http.get("/v1/models/tiny:polite").json().get("ready"), what="it is asked for"
        )


class Visitor:
    """Somebody who goes on asking one model, and notes its answers and what went wrong."""

    def __init__(self, platform: Platform, model: str) -> None:
        self.answers, self.refused = list[str](), list[str]()
        self._platform, self._model, self._stop = platform, model, threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        with self._platform.http() as http:
            while not self._stop.is_set():
                told = http.post("/v1/chat/completions", json={**ASK, "model": self._model})
                if told.status_code == 200:
                    self.answers.append(told.json()["choices"][0]["message"]["content"])
                else:
                    self.refused.append(f"{told.status_code}: {told.text}")
                self._stop.wait(0.1)  # a visitor reads before the next question


def test_before_after_and_back_again(adapted: Platform, versions: Versions) -> None:
    plain = answer(adapted, "tiny")
    with adapted.http() as http:
        early = http.post("/v1/chat/completions", json={**ASK, "model": "tiny:polite"})
    assert early.status_code == 503
    assert "'polite' is released and served yet" in early.json()["error"]["message"]
    found = next(
        one
        for one in resource(adapted)["status"]["conditions"]
        if one["type"] == "AdapterNotReleased"
    )
    assert (found["status"], found["reason"]) == ("True", "NotReleased")
    spec = resource(adapted)["spec"]

    with Visitor(adapted, "tiny") as visitor:
        versions.release(adapted, versions.make(1))
        await_version(adapted, 1)
        # The Service follows the status: a request in between may still reach the old revision,
        # which has another adapter or none (docs/how-to/serve-adapters.md).
        first = another(adapted, {plain})
        with Visitor(adapted, "tiny:polite") as guest:
            versions.release(adapted, versions.make(2))
            await_version(adapted, 2)
            second = another(adapted, {plain, first})
            versions.release(adapted, versions.make(1))
            await_version(adapted, 1)
            again = another(adapted, {plain, second})
    assert visitor.refused == guest.refused == []
    assert set(visitor.answers) == {plain}
    assert set(guest.answers) == {first, second}

    assert len({plain, first, second}) == 3
    assert again == first
    assert answer(adapted, "tiny") == plain
    assert resource(adapted)["spec"] == spec


def await_refusal(platform: Platform, words: str) -> None:
    eventually(
        lambda: words in platform.cli("describe", "sm/tiny").stdout,
        what="the condition says why the new revision does not start",
        seconds=180,
    )


def test_a_version_that_was_tampered_with_or_cannot_answer_is_not_served(
    adapted: Platform, versions: Versions
) -> None:
    plain = answer(adapted, "tiny")
    versions.release(adapted, versions.make(1))
    await_version(adapted, 1)
    first = another(adapted, {plain})
    second = versions.make(2)
    weights = versions.folder(2) / "adapter.gguf"
    honest = weights.read_bytes()
    weights.write_bytes(honest[:-1] + bytes([honest[-1] ^ 1]))
    versions.release(adapted, second)
    await_refusal(adapted, "was released; nothing is served")
    assert live_version(adapted) == "1"
    assert answer(adapted, "tiny:polite") == first
    versions.make(3)
    spoil(
        versions.folder(3) / "adapter.gguf", "blk.0.attn_q.weight.lora_b"
    )  # it loads all the same
    versions.release(adapted, versions.make(3))
    await_refusal(adapted, "the first question was not answered")
    assert live_version(adapted) == "1"
    assert answer(adapted, "tiny:polite") == first
