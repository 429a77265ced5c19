"""A burst of resources before a real API server: the operator beside a plain kopf handler.

Run alone: `python tests/bench/operator_burst.py [--burst 3000] [--most 5000]`.  All make the same
Workflow for each new RagIndex.  Two plain ones are `kopf.on.create` with kopf's own settings: as in
its tutorial, with the official client, and with our asynchronous one.  The operator also writes a
finalizer and a status.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "contract" / "cluster")]

import real_cluster  # noqa: E402 - the path is set above

from nexus_api.meta import API_VERSION  # noqa: E402
from nexus_operator.cluster.connection import from_kubeconfig  # noqa: E402
from nexus_operator.cluster.errors import Gone  # noqa: E402
from nexus_operator.cluster.kubernetes import KubernetesCluster  # noqa: E402

PORT = 18081
CLIENTS = 32
PATIENCE = 600.0
WORKFLOW = ("argoproj.io/v1alpha1", "Workflow")
INDEX = (API_VERSION, "RagIndex")
HANDLERS = {
    "kopf tutorial": Path(__file__).with_name("tutorial_handler.py"),
    "kopf async": Path(__file__).with_name("plain_handler.py"),
}


@dataclass
class Seen:
    """What was seen: when each index and its Workflow came, and the changes of each index."""

    made: dict[str, float] = field(default_factory=dict)
    child: dict[str, float] = field(default_factory=dict)
    changes: Counter[str] = field(default_factory=Counter)
    processor: float = 0.0
    """Processor seconds that the contender took."""

    def reactions(self) -> list[float]:
        return sorted(self.child[name] - at for name, at in self.made.items())


async def watch(cluster: KubernetesCluster, kind: tuple[str, str], seen: Seen) -> None:
    since = None
    while True:
        try:
            async for event in cluster.watch(*kind, since=since):
                metadata = event.object["metadata"]
                since = metadata["resourceVersion"]
                if event.type == "BOOKMARK":
                    continue
                if kind == WORKFLOW and event.type == "ADDED":
                    name = metadata["labels"]["llmops.nexus/index"]
                    seen.child.setdefault(name, time.monotonic())
                if kind == INDEX and event.type == "MODIFIED":
                    seen.changes[metadata["name"]] += 1
        except Gone:
            since = None


async def make(cluster: KubernetesCluster, names: list[str], seen: Seen) -> None:
    places = asyncio.Semaphore(CLIENTS)

    async def one(name: str) -> None:
        metadata = {"name": name, "namespace": "default"}
        async with places:
            await cluster.create(
                {"apiVersion": INDEX[0], "kind": INDEX[1], "metadata": metadata, "spec": {}}
            )
            seen.made[name] = time.monotonic()

    await asyncio.gather(*(one(name) for name in names))


async def burst(cluster: KubernetesCluster, names: list[str]) -> Seen:
    """Create the indexes as fast as the API server takes them; wait for all their Workflows."""
    seen = Seen()
    watches = [asyncio.create_task(watch(cluster, kind, seen)) for kind in (WORKFLOW, INDEX)]
    await asyncio.sleep(1)  # let the watches begin
    await make(cluster, names, seen)
    async with asyncio.timeout(PATIENCE):
        # Watches fill it; there is nothing else to wait for.
        while not seen.child.keys() >= set(names):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    await asyncio.sleep(5)  # writes that come after the child
    for task in watches:
        task.cancel()
    await asyncio.gather(*watches, return_exceptions=True)
    return seen


@contextlib.contextmanager
def process(command: list[str], kubeconfig: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            yield child
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(60)
            except subprocess.TimeoutExpired:
                child.kill()


@contextlib.contextmanager
def operator(kubeconfig: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = str(Path(sys.executable).parent / "nexus-operator")
    with process([command, "--dev", str(kubeconfig), "--port", str(PORT)], kubeconfig) as child:
        wait_ready()
        yield child


def wait_ready() -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{PORT}/readyz").is_success and metrics():
                return
        time.sleep(0.2)
    raise TimeoutError("the operator is not ready")


def metrics() -> dict[str, float]:
    text = httpx.get(f"http://127.0.0.1:{PORT}/metrics", timeout=30).text
    lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith("nexus_"))
    return {name: float(value) for name, _, value in lines if "_created" not in name}


def writes(figures: dict[str, float]) -> float:
    """Requests that write, the Lease's renewals left out."""
    return sum(
        value
        for name, value in figures.items()
        if name.startswith("nexus_api_requests_total")
        and any(f'verb="{verb}"' in name for verb in ("POST", "PATCH", "PUT", "DELETE"))
        and 'kind="Lease"' not in name
    )


def reconciles(figures: dict[str, float]) -> float:
    return sum(value for name, value in figures.items() if name.startswith("nexus_reconcile_total"))


def megabytes(pid: int, what: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    raise ValueError(what)


def report(title: str, seen: Seen, seconds: float) -> None:
    reactions = seen.reactions()
    p99 = reactions[int(len(reactions) * 0.99) - 1]
    changes = statistics.mean(seen.changes[name] for name in seen.made)
    print(
        f"{title:14} {len(reactions) / seconds:8.0f}/s   p50 {statistics.median(reactions):7.2f} s"
        f"   p99 {p99:7.2f} s   writes to each resource {changes:.2f}"
        f"   processor {seen.processor / len(reactions) * 1000:.1f} ms each",
        flush=True,
    )


def took(seen: Seen) -> float:
    return max(seen.child.values()) - min(seen.made.values())


CONTENDERS = (*HANDLERS, "nexus-operator")


@contextlib.contextmanager
def contender(title: str, kubeconfig: Path, *, ready: bool = True) -> Iterator[int]:
    """Run one of both; yields its process id.  With `ready`, once it takes up new resources."""
    if title == "nexus-operator":
        with operator(kubeconfig) as child:
            yield child.pid
        return
    command = [sys.executable, "-m", "kopf", "run", "-A", "--standalone"]
    command.append(str(HANDLERS[title]))
    with process(command, kubeconfig) as child:
        if ready:
            time.sleep(8)  # it has no sign of it
        yield child.pid


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compare_live(count: int) -> None:
    """The burst comes while the contender runs: whoever keeps pace is as fast as the burst."""
    print(f"{count} resources created as fast as the API server takes them:")
    names = [f"index-{number}" for number in range(count)]
    for title in CONTENDERS:
        with real_cluster.control_plane() as running, contender(title, running.kubeconfig) as pid:
            before = processor_seconds(pid)
            seen = asyncio.run(_with_cluster(running, burst, names))
            seen.processor = processor_seconds(pid) - before
            report(title, seen, took(seen))


def compare_backlog(count: int) -> None:
    """The burst is there when the contender starts: time counts from its first child."""
    print(f"{count} resources that were there before:")
    names = [f"index-{number}" for number in range(count)]
    for title in CONTENDERS:
        with real_cluster.control_plane() as running:
            asyncio.run(_with_cluster(running, make, names, Seen()))
            seen = asyncio.run(_with_cluster(running, backlog, names, title))
            report(title, seen, took(seen))


async def backlog(cluster: KubernetesCluster, running: Any, names: list[str], title: str) -> Seen:
    """Start the contender before resources that wait; reactions count from the first child."""
    seen = Seen()
    tasks = [asyncio.create_task(watch(cluster, kind, seen)) for kind in (WORKFLOW, INDEX)]
    await asyncio.sleep(3)
    with contextlib.ExitStack() as stack:
        started = contender(title, running.kubeconfig, ready=False)
        pid = await asyncio.to_thread(stack.enter_context, started)
        async with asyncio.timeout(PATIENCE):
            # Watches fill it; there is nothing else to wait for.
            while not seen.child.keys() >= set(names):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        await asyncio.sleep(5)  # writes that come after the child
        seen.processor = processor_seconds(pid)
        await asyncio.to_thread(stack.close)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    first = min(seen.child.values())
    seen.made = dict.fromkeys(names, first)
    return seen


async def _with_cluster(running: Any, what: Any, *arguments: Any) -> Any:
    async with KubernetesCluster(from_kubeconfig(running.kubeconfig)) as cluster:
        given = (running, *arguments) if what is backlog else arguments
        return await what(cluster, *given)


def grow(running: Any, count: int) -> None:
    """Memory and writes with many resources: at rest, looked at again, and after a restart."""
    names = [f"index-{number}" for number in range(count)]
    with operator(running.kubeconfig) as child:
        asyncio.run(_with_cluster(running, burst, names))
        settle()
        before = metrics()
        deadline = time.monotonic() + PATIENCE
        while reconciles(metrics()) < reconciles(before) + count and time.monotonic() < deadline:
            time.sleep(1)
        after = metrics()
        print(
            f"{count} resources: RSS {megabytes(child.pid, 'VmRSS'):.0f} MiB, "
            f"peak {megabytes(child.pid, 'VmHWM'):.0f} MiB; "
            f"{reconciles(after) - reconciles(before):.0f} reconciles at rest made "
            f"{writes(after) - writes(before):.0f} writes"
        )
    with operator(running.kubeconfig) as child:
        started = time.monotonic()
        while reconciles(metrics()) < count and time.monotonic() < started + PATIENCE:
            time.sleep(0.5)
        figures = metrics()
        print(
            f"restart: {reconciles(figures):.0f} reconciles in {time.monotonic() - started:.0f} s "
            f"made {writes(figures):.0f} writes; peak {megabytes(child.pid, 'VmHWM'):.0f} MiB"
        )


def settle() -> None:
    """Wait until nothing is written for a while: Events trickle after a burst."""
    last, since = -1.0, time.monotonic()
    while time.monotonic() - since < 5:
        now = writes(metrics())
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--burst", type=int, default=3000, help="0 leaves the comparison out")
    parser.add_argument("--most", type=int, default=5000, help="0 leaves memory out")
    given = parser.parse_args()
    if given.burst:
        compare_live(given.burst)
        compare_backlog(given.burst)
    if given.most:
        with real_cluster.control_plane() as running:
            grow(running, given.most)


if __name__ == "__main__":
    main()
