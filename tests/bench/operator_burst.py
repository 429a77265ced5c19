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
    processor_seconds,
    reconciles,
    writes,
)
from burst_fake_api import FakeApi  # noqa: E402
from burst_live import burst, child_watch, make, requests  # noqa: E402
from burst_seen import Seen, comparison, line  # noqa: E402
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


def grow(count: int) -> None:
    """Memory and writes with many resources: at rest, looked at again, and after a restart."""
    names = [f"index-{number}" for number in range(count)]
    with api_server() as running:
        with operator(running.kubeconfig) as child:
            _run(burst(running, names))
            settle()
            before = metrics()
            deadline = time.monotonic() + PATIENCE
            while reconciles(metrics()) < reconciles(before) + count:
                if time.monotonic() > deadline:
                    raise TimeoutError("not every resource was looked at again")
                time.sleep(1)
            after = metrics()
            print(
                f"\n{count} resources: RSS {megabytes(child.pid, 'VmRSS'):.0f} MiB, "
                f"peak {megabytes(child.pid, 'VmHWM'):.0f} MiB; "
                f"{reconciles(after) - reconciles(before):.0f} reconciles at rest made "
                f"{writes(after) - writes(before):.0f} writes",
                flush=True,
            )
        with operator(running.kubeconfig) as child:
            started = time.monotonic()
            while reconciles(figures := metrics()) < count:
                if time.monotonic() > started + PATIENCE:
                    raise TimeoutError("not every resource was looked at after the restart")
                time.sleep(0.5)
            print(
                f"restart: {reconciles(figures):.0f} reconciles in "
                f"{time.monotonic() - started:.0f} s made {writes(figures):.0f} writes; "
                f"peak {megabytes(child.pid, 'VmHWM'):.0f} MiB"
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
