"""How long an upload takes on a real cluster, and what a burst of uploads costs.

    python tests/bench/on_cluster.py [--uploads 10] [--burst 1000]

Starts the test cluster, installs the charts, and prints for single uploads the median of each part
of the way: put -> the resource is annotated (MinIO, Argo Events) -> the Workflow is there (the
operator) -> it has ended (Argo, the steps) -> found by search.  Then a burst: how many syncs ran
or waited at the most, how many ran in all, and when the last file could be found.
"""

import argparse
import io
import ssl
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "cluster"), str(ROOT / "tests")]

from testcluster.cluster import Cluster  # noqa: E402
from testcluster.config import ClusterConfig  # noqa: E402

from e2e.cluster.installation import Installation  # noqa: E402 - the path is set above
from e2e.cluster.site import PLATFORM, TENANT, Site  # noqa: E402

PARTS = ("annotated", "workflow", "ended", "searchable")
INDEX: dict[str, Any] = {
    "apiVersion": "llmops.nexus/v1alpha1",
    "kind": "RagIndex",
    "metadata": {"name": "bench", "namespace": TENANT},
    "spec": {},
}


@dataclass
class Watcher:
    """Polls one site; every question is one request, so that the polling costs little."""

    site: Site
    api: httpx.Client
    search: httpx.Client
    counts: list[int] = field(default_factory=list)

    def request(self) -> str:
        notes = self._index()["metadata"].get("annotations") or {}
        return str(notes.get("llmops.nexus/sync-requested-at", ""))

    def workflows(self) -> list[dict[str, Any]]:
        path = f"/apis/argoproj.io/v1alpha1/namespaces/{PLATFORM}/workflows"
        selector = {"labelSelector": "llmops.nexus/index=bench"}
        found: list[dict[str, Any]] = self.api.get(path, params=selector).json()["items"]
        return found

    def finished(self, workflow: dict[str, Any]) -> bool:
        return bool((workflow.get("status") or {}).get("finishedAt"))

    def found(self, text: str) -> bool:
        answer = self.search.post(
            "/v1/search", json={"index": "bench", "query": text, "mode": "bm25", "top_k": 3}
        )
        return answer.is_success and any(text in hit["text"] for hit in answer.json()["hits"])

    def documents(self) -> int:
        status = self._index().get("status") or {}
        return int((status.get("documents") or {}).get("indexed", 0))

    def _index(self) -> dict[str, Any]:
        path = f"/apis/llmops.nexus/v1alpha1/namespaces/{TENANT}/ragindexes/bench"
        found: dict[str, Any] = self.api.get(path).json()
        return found


def until(holds: Callable[[], bool], seconds: float = 600) -> float:
    """Return the time at which it holds."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("the cluster is too slow, or something is broken")
        time.sleep(0.02)
    return time.monotonic()


def put(site: Site, name: str, text: str) -> None:
    body = text.encode()
    site.store().put_object("nexus", f"{TENANT}/bench/{name}", io.BytesIO(body), len(body))


def one_upload(watcher: Watcher, number: int) -> dict[str, float]:
    """Return the seconds of each part of one upload's way, and of all of it."""
    word = f"quixotic{number}zeppelin"
    known = {one["metadata"]["name"] for one in watcher.workflows()}
    asked = watcher.request()

    def fresh() -> list[dict[str, Any]]:
        return [one for one in watcher.workflows() if one["metadata"]["name"] not in known]

    began = time.monotonic()
    put(watcher.site, f"{word}.md", f"# A note\n\nThe code word of this note is {word}.\n")
    marks = [began]
    marks.append(until(lambda: watcher.request() != asked))
    marks.append(until(lambda: bool(fresh())))
    marks.append(until(lambda: all(watcher.finished(one) for one in fresh())))
    marks.append(until(lambda: watcher.found(word)))
    parts = {
        name: after - before for name, before, after in zip(PARTS, marks, marks[1:], strict=False)
    }
    until(lambda: all(watcher.finished(one) for one in watcher.workflows()))
    return {**parts, "all": marks[-1] - began}


def burst(watcher: Watcher, count: int) -> None:
    """Upload many files at once and print what became of them."""
    store = watcher.site.store()
    before = watcher.documents()
    known = {one["metadata"]["name"] for one in watcher.workflows()}
    seen: set[str] = set()
    began = time.monotonic()
    for number in range(count):
        body = f"# Note {number}\n\nThis is note {number} of a burst.\n".encode()
        key = f"{TENANT}/bench/burst/{number:05}.md"
        store.put_object("nexus", key, io.BytesIO(body), len(body))
    uploaded = time.monotonic() - began
    most = 0

    def all_there() -> bool:
        nonlocal most
        now = watcher.workflows()
        seen.update(one["metadata"]["name"] for one in now)
        most = max(most, sum(not watcher.finished(one) for one in now))
        return watcher.documents() >= before + count

    done = until(all_there, 1800) - began
    total = len(seen - known)
    print(f"burst of {count}: uploaded in {uploaded:.1f} s, all indexed after {done:.1f} s")
    print(f"  syncs running or queued at once: {most} at the most; {total} in all until then")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=10)
    parser.add_argument("--burst", type=int, default=1000)
    options = parser.parse_args()
    with Cluster(ClusterConfig(test_services=False)) as cluster, cluster.joined():
        installation = Installation(cluster)
        installation.prepare()
        installation.install()
        cluster.apply(INDEX)
        cluster.kubectl("wait", "-n", TENANT, "ragindex/bench", "--for=condition=Ready")
        config = yaml.safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))
        place, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        tls = ssl.create_default_context(cafile=place["certificate-authority"])
        tls.load_cert_chain(user["client-certificate"], user["client-key"])
        site = installation.site
        key = {"authorization": f"Bearer {site.key()}"}
        with (
            httpx.Client(
                base_url=place["server"],
                verify=tls,
                timeout=30,
            ) as api,
            httpx.Client(base_url=site.gateway(), headers=key, timeout=30) as search,
        ):
            watcher = Watcher(site, api, search)
            rounds = [one_upload(watcher, number) for number in range(options.uploads)]
            for name in (*PARTS, "all"):
                times = sorted(one[name] for one in rounds)
                print(
                    f"{name:11} p50 {statistics.median(times):6.2f} s"
                    f"  min {times[0]:6.2f}  max {times[-1]:6.2f}"
                )
            burst(watcher, options.burst)


if __name__ == "__main__":
    main()
