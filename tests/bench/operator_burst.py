"""A burst of resources before an API server: the operator beside plain kopf handlers.

Run alone: `python tests/bench/operator_burst.py [--burst 3000] [--most 5000] [--rounds 1]`.  All
make the same Workflow for each new RagIndex.  Two plain ones are `kopf.on.create` with kopf's own
settings: as in its tutorial, with the official client, and with our asynchronous one.  The operator
also writes a finalizer and a status.

Three settings.  *live*: a real API server and etcd, the burst comes as fast as they take it.
*backlog*: the burst is there when the contender starts, and time counts from its first child.
*in memory*: the whole burst at once before an API server that costs nearly nothing
(`burst_fake_api.py`), so that the contender is the bound.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "contract" / "cluster")]

import real_cluster  # noqa: E402 - the path is set above
import uvloop  # noqa: E402
from burst_contenders import (  # noqa: E402
    CONTENDERS,
    OURS,
    contender,
    megabytes,
    metrics,
    operator,
    outcomes,
    processor_seconds,
    reconciles,
    writes,
)
from burst_fake_api import FakeApi  # noqa: E402
from burst_live import INDEXES, burst, child_watch, make, requests  # noqa: E402
from burst_seen import Seen, comparison, line  # noqa: E402
from burst_writes import POLICY, AuditLog  # noqa: E402
from testcluster.control_plane import ControlPlane  # noqa: E402

PATIENCE = 600.0


@contextlib.contextmanager
def api_server() -> Iterator[ControlPlane]:
    """Run an API server and etcd, nothing else: the rest of a cluster has its own machines."""
    with ControlPlane() as running:
        real_cluster.prepare(running.client)
        yield running


class Account:
    """Counts processor time and requests between its beginning and `settle`."""

    def __init__(self, running: ControlPlane, pid: int, *, started: bool = True) -> None:
        etcd, server = running.pids()
        self._pids = {"contender": pid, "API server": server, "etcd": etcd, "bench": os.getpid()}
        self._running = running
        self._before = Counter({name: processor_seconds(one) for name, one in self._pids.items()})
        if not started:
            self._before["contender"] = 0.0
        self._asked = requests(running.client)

    def settle(self, seen: Seen) -> None:
        """Write what was taken since into `seen`."""
        for name, pid in self._pids.items():
            seen.processor[name] = processor_seconds(pid) - self._before[name]
        seen.requests = requests(self._running.client) - self._asked
        seen.requests["POST ragindexes"] = 0


def live(title: str, count: int) -> Seen:
    """Create `count` indexes while the contender runs."""
    names = [f"index-{number}" for number in range(count)]
    with api_server() as running, contender(title, running.kubeconfig) as pid:
        account = Account(running, pid)
        seen = _run(burst(running, names))
        account.settle(seen)
    return seen


def backlog(title: str, count: int) -> Seen:
    """Start the contender before indexes that wait; time counts from its first child."""
    names = [f"index-{number}" for number in range(count)]
    with api_server() as running:
        _run(make(running, names, Seen()))
        seen = Seen()
        with contender(title, running.kubeconfig, ready=False) as pid:
            account = Account(running, pid, started=False)
            _run(child_watch(running, names, seen))
            account.settle(seen)
    seen.made = dict.fromkeys(names, min(seen.child.values()))
    return seen


def in_memory(title: str, count: int) -> Seen:
    """Put `count` indexes at once before a contender whose API server costs nearly nothing."""
    names = [f"index-{number}" for number in range(count)]

    async def measured() -> Seen:
        async with FakeApi() as api, _elsewhere(contender(title, api.kubeconfig)) as pid:
            pids = {"contender": pid, "API server": os.getpid()}
            before = {name: processor_seconds(one) for name, one in pids.items()}
            seen = await api.burst(names, PATIENCE)
            for name, one in pids.items():
                seen.processor[name] = processor_seconds(one) - before[name]
            return seen

    return _run(measured())


@contextlib.asynccontextmanager
async def _elsewhere(manager: contextlib.AbstractContextManager[int]) -> AsyncIterator[int]:
    """Enter and leave in another thread, since both wait for what this one serves."""
    value = await asyncio.to_thread(manager.__enter__)
    try:
        yield value
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


def _run(what: Any) -> Any:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(what)


SETTINGS = {"live": live, "backlog": backlog, "in memory": in_memory}


def compare(setting: str, count: int, rounds: int, chosen: list[str]) -> None:
    """Run the contenders in turn, `rounds` times."""
    print(f"\n{setting}: {count} resources")
    seen: list[dict[str, Seen]] = []
    for number in range(rounds):
        order = chosen if number % 2 == 0 else chosen[::-1]
        found = {}
        for title in order:
            found[title] = SETTINGS[setting](title, count)
            print(f"{line(title, found[title])}   load {os.getloadavg()[0]:.1f}", flush=True)
        seen.append({title: found[title] for title in chosen})
    if OURS in chosen:
        print(comparison(seen, OURS), flush=True)


@contextlib.contextmanager
def audited() -> Iterator[tuple[ControlPlane, AuditLog]]:
    """Run an API server that notes each write; its rate is another one for that."""
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "policy.yaml"
        policy.write_text(POLICY)
        with ControlPlane(audit_policy=policy) as running:
            real_cluster.prepare(running.client)
            yield running, AuditLog(running.audit_log)


def grow(count: int) -> None:
    """Memory and writes with many resources: at rest, looked at again, and after a restart."""
    names = [f"index-{number}" for number in range(count)]
    with audited() as (running, log):
        with operator(running.kubeconfig) as child:
            _run(burst(running, names))
            _told(running, count)
            settle()
            before = metrics()
            print(f"\n{count} resources: {outcomes(before)}", flush=True)
            print(f"writes: {log.since().counted()}", flush=True)
            after = _looked_at(count, since=before)
            print(
                f"RSS {megabytes(child.pid, 'VmRSS'):.0f} MiB, "
                f"peak {megabytes(child.pid, 'VmHWM'):.0f} MiB\n"
                f"{reconciles(after) - reconciles(before):.0f} reconciles at rest made "
                f"{writes(after) - writes(before):.0f} writes: {log.since()}",
                flush=True,
            )
        print(f"writes at the stop: {log.since()}", flush=True)
        started = time.monotonic()
        with operator(running.kubeconfig) as child:
            _looked_at(count)
            took = time.monotonic() - started
            settle()
            figures = metrics()
            print(
                f"restart: all looked at {took:.0f} s after the start; "
                f"{outcomes(figures)} made {writes(figures):.0f} writes: {log.since()}\n"
                f"peak {megabytes(child.pid, 'VmHWM'):.0f} MiB"
            )


def _told(running: ControlPlane, count: int) -> None:
    """Wait until all have a status: quiet alone may be the pause before a request's next try."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = running.client.get(INDEXES).json()["items"]
        told = sum(1 for one in found if one.get("status"))
        if told == count:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count - told} of {count} have no status")
        time.sleep(1)


def _looked_at(count: int, since: dict[str, float] | None = None) -> dict[str, float]:
    """Wait for `count` reconciles more than `since`; return the metrics then."""
    goal = count + (reconciles(since) if since else 0)
    deadline = time.monotonic() + PATIENCE
    while reconciles(figures := metrics()) < goal:
        if time.monotonic() > deadline:
            raise TimeoutError("not every resource was looked at")
        time.sleep(0.5)
    return figures


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
    parser.add_argument("--rounds", type=int, default=1, help="of each comparison")
    parser.add_argument("--only", choices=CONTENDERS, action="append", help="may be repeated")
    parser.add_argument("--setting", choices=SETTINGS, action="append", help="may be repeated")
    given = parser.parse_args()
    chosen = given.only or list(CONTENDERS)
    for setting in given.setting or SETTINGS if given.burst else ():
        compare(setting, given.burst, given.rounds, chosen)
    if given.most:
        grow(given.most)


if __name__ == "__main__":
    main()
