"""The controller: hints come in from watches, keys go through a queue, workers reconcile them."""

import asyncio
import logging
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from nexus_operator.cluster.errors import ClusterError, Conflict, Gone
from nexus_operator.cluster.protocol import Cluster
from nexus_operator.reconcile.metrics import RECONCILES, SECONDS, WAITING, WATCH_BREAKS
from nexus_operator.reconcile.queue import KeyedQueue
from nexus_operator.reconcile.reconcile import Clock, Key, Result, reconcile
from nexus_operator.reconcile.routes import Routes, Watched, watched
from nexus_operator.settings import Settings

WORKERS = 4
RECONCILE_TIMEOUT = timedelta(seconds=30)
"""A cluster that answers slower than this counts as one that does not answer."""

FIRST_RETRY = timedelta(milliseconds=500)
LONGEST_RETRY = timedelta(minutes=1)

log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """Return the time of the machine's clock."""
    return datetime.now(tz=UTC)


def retry_delay(
    failures: int, *, first: timedelta = FIRST_RETRY, longest: timedelta = LONGEST_RETRY
) -> timedelta:
    """Return the wait after failure number `failures`: doubled each time, with up to half off."""
    full = min(first * (1 << min(failures - 1, 16)), longest)
    return full * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


class Controller:
    """Keeps every resource of our kinds as its plan wants it.

    Level-triggered: a watch event only names a key, so events may be lost, doubled or late; each
    plan also says when to look again although nothing was heard.
    """

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        *,
        clock: Clock = utc_now,
        workers: int = WORKERS,
    ) -> None:
        """Take what it needs; nothing happens before `run`."""
        self._cluster = cluster
        self._settings = settings
        self._clock = clock
        self._workers = workers
        self._routes = Routes()
        self._failures: Counter[Key] = Counter()

    async def run(self, stop: asyncio.Event) -> None:
        """Watch and reconcile until `stop` is set.

        A reconcile that is under way then is cancelled: the next start goes on from there.
        """
        queue: KeyedQueue[Key] = KeyedQueue()
        WAITING.set_function(lambda: len(queue))
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(stop.wait(), name="stop")]
        tasks += [
            asyncio.create_task(self._watch(queue, one), name=f"watch {one.kind}")
            for one in watched(self._settings)
        ]
        tasks += [
            asyncio.create_task(self._work(queue), name=f"reconcile {number}")
            for number in range(self._workers)
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            queue.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, queue: KeyedQueue[Key], what: Watched) -> None:
        since: str | None = None
        breaks = 0
        while True:
            try:
                events = self._cluster.watch(
                    what.api_version, what.kind, namespace=what.namespace, since=since
                )
                async for event in events:
                    breaks = 0
                    since = event.object["metadata"].get("resourceVersion", since)
                    if event.type != "BOOKMARK":
                        for key in self._routes.keys(event, what.kind):
                            queue.add(key)
                reason = "ended"
            except Gone:
                since, reason = None, "gone"
            except ClusterError as problem:
                reason = "error"
                log.warning("the watch of %s broke: %s", what.kind, problem)
            breaks += 1
            WATCH_BREAKS.labels(what.kind, reason).inc()
            await asyncio.sleep(retry_delay(breaks).total_seconds())

    async def _work(self, queue: KeyedQueue[Key]) -> None:
        while True:
            key = await queue.get()
            try:
                wait = await self._reconcile(key)
            finally:
                queue.done(key)
            if wait is not None:
                queue.add_after(key, wait)

    async def _reconcile(self, key: Key) -> timedelta | None:
        """Reconcile one key and return when to look again."""
        try:
            with SECONDS.labels(key.kind).time():
                async with asyncio.timeout(RECONCILE_TIMEOUT.total_seconds()):
                    result: Result = await reconcile(
                        self._cluster, key, self._settings, self._clock
                    )
        except Conflict:
            RECONCILES.labels(key.kind, "conflict").inc()
            self._failures[key] += 1
            return retry_delay(self._failures[key], first=FIRST_RETRY / 10)
        except (ClusterError, TimeoutError) as problem:
            said = str(problem) or "the cluster did not answer in time"
            return self._failed(key, said)
        except Exception:  # one resource that trips our code must not stop all others
            log.exception("%s: an error in the operator itself", key)
            return self._failed(key, "an error in the operator itself")
        self._failures.pop(key, None)
        RECONCILES.labels(key.kind, "changed" if result.writes else "unchanged").inc()
        return result.requeue_after

    def _failed(self, key: Key, said: str) -> timedelta:
        RECONCILES.labels(key.kind, "error").inc()
        self._failures[key] += 1
        delay = retry_delay(self._failures[key])
        log.warning("%s: %s; next try in %.1f s", key, said, delay.total_seconds())
        return delay
