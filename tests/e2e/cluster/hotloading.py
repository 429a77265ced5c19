"""A vLLM on the test cluster, as far as adapters go: they are loaded into it while it serves."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import httpx

from nexus_api.meta import MODEL_LABEL

from .site import TENANT, Manifest, Site
from .tuning import MODEL

NAME = "dispatcher"
ADAPTED = f"{NAME}:tuned"
_WEIGHTS = f"{TENANT}/bases/tiny"
_PAUSE = 0.05  # seconds between two requests: the node has other work, too


def serving() -> Manifest:
    """Return the model: a stand-in for vLLM, with whatever the job's champion is beside it."""
    adapter = {"name": "tuned", "uri": f"models:/{MODEL}@champion"}
    return {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "ServingModel",
        "metadata": {"name": NAME, "namespace": TENANT},
        "spec": {
            "model": {"uri": f"s3://nexus/{_WEIGHTS}", "adapters": [adapter]},
            "runtime": {"engine": "vllm", "contextTokens": 512},
        },
    }


def put_weights(site: Site, folder: Path) -> None:
    """Bring a model's safetensors to where the pod fetches them."""
    store = site.store()
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        store.put_object("nexus", f"{_WEIGHTS}/{file.name}", io.BytesIO(data), len(data))


def served(site: Site, version: str) -> str:
    """Return the name by which requests have this version, "" while they have another."""
    status = site.get("servingmodel", NAME).get("status") or {}
    found = (one for one in status.get("adapters") or [] if one.get("version") == version)
    name: str = next(found, {}).get("servedAs", "")
    return name


def processes(site: Site) -> set[tuple[str, str, int]]:
    """Return each container of the model's pods with its pod and how often it was restarted."""
    return {
        (pod["metadata"]["uid"], one["name"], one["restartCount"])
        for pod in site.items("pods", "-n", TENANT, "-l", f"{MODEL_LABEL}={NAME}")
        for kind in ("containerStatuses", "initContainerStatuses")
        for one in pod["status"][kind]
    }


def digest_of(site: Site, release: str) -> str:
    """Return the digest of a released adapter's weights, by which the stand-in answers."""
    bucket, _, prefix = release.removeprefix("s3://").partition("/")
    answer = site.store().get_object(bucket, f"{prefix.rstrip('/')}/adapter_model.safetensors")
    try:
        return hashlib.sha256(answer.read()).hexdigest()
    finally:
        answer.close()


@dataclass
class Asked:
    """What came of requests."""

    answers: list[tuple[str, str]] = field(default_factory=list)
    """By which version, and what it said."""
    failed: list[str] = field(default_factory=list)


@contextmanager
def asking(site: Site) -> Iterator[Asked]:
    """Ask the gateway for the adapter, again and again, until the block ends."""
    asked, over = Asked(), Event()
    body = {"model": ADAPTED, "messages": [{"role": "user", "content": "Where?"}]}
    headers = {"authorization": f"Bearer {site.key()}"}

    def ask(http: httpx.Client) -> None:
        try:
            answer = http.post("/v1/chat/completions", json=body, headers=headers)
        except httpx.HTTPError as error:
            asked.failed.append(repr(error))
            return
        if answer.status_code != httpx.codes.OK:
            asked.failed.append(answer.text)
            return
        told = answer.json()
        asked.answers.append((told["model"], told["choices"][0]["message"]["content"]))

    def go_on() -> None:
        with httpx.Client(base_url=site.gateway(), timeout=60) as http:
            while not over.wait(_PAUSE):
                ask(http)

    thread = Thread(target=go_on)
    thread.start()
    try:
        yield asked
    finally:
        over.set()
        thread.join()
