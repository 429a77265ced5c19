"""The controller: hints come in from watches, keys go through a queue, workers reconcile them."""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

from nexus_api.meta import FINALIZER
from nexus_operator.cluster.errors import ClusterError, Conflict, Gone, KindMissing
from nexus_operator.cluster.protocol import Cluster, WatchEvent
from nexus_operator.cluster.view import View
from nexus_operator.ending import end
from nexus_operator.objects import is_deleting
from nexus_operator.reconcile.events import Recorder
from nexus_operator.reconcile.kinds import KINDS
from nexus_operator.reconcile.metrics import (
    RECONCILES,
    SECONDS,
    WAITING,
    WATCH_BREAKS,
    forget_replicas,
)
from nexus_operator.reconcile.platform import reconcile_platform
from nexus_operator.reconcile.queue import KeyedQueue
from nexus_operator.reconcile.reconcile import Clock, Key, Result, reconcile
from nexus_operator.reconcile.routes import PLATFORM, Routes, Watched, watched
from nexus_operator.settings import Settings

WORKERS = 4
PLATFORM_DELAY = timedelta(seconds=1)
"""How long changes of what all indexes share are gathered."""

ECHO_DELAY = timedelta(milliseconds=500)
"""How long echoes of our own writes are gathered; a creation has two or three of them."""

RECONCILE_TIMEOUT = timedelta(seconds=30)
"""A cluster that answers slower than this counts as one that does not answer."""

FIRST_RETRY = timedelta(milliseconds=500)
LONGEST_RETRY = timedelta(minutes=1)
LIST_ANEW = timedelta(hours=1)
"""How long a watch is believed; then it lists anew, which finds what it was never told."""

_MISSING_BREAKS = 6
"""A kind that is not installed is looked for every quarter of a minute or so, not at once."""

log = logging.getLogger(__name__)


def _is_new(event: WatchEvent) -> bool:
    """Tell whether a resource of ours has nothing yet."""
    metadata = event.object["metadata"]
    return (
        event.type == "ADDED"
        and FINALIZER not in (metadata.get("finalizers") or ())
        and not event.object.get("status")
        and not is_deleting(event.object)
    )


def utc_now() -> datetime:
    """Return the time of the machine's clock."""
    return datetime.now(tz=UTC)


def _believed() -> float:
    """Return seconds; all watches begin together and must not all list together."""
    return LIST_ANEW.total_seconds() * random.uniform(0.75, 1.0)  # noqa: S311 - no secret


def retry_delay(
    failures: int, *, first: timedelta = FIRST_RETRY, longest: timedelta = LONGEST_RETRY
) -> timedelta:
    """Return the wait after failure number `failures`: doubled each time, with up to half off."""
    full = min(first * (1 << min(failures - 1, 16)), longest)
    return full * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


class Controller:
    """Keeps every resource of our kinds as its plan wants it.

    Level-triggered: a hint only names a key, so hints may be lost, doubled or late; each plan also
    says when to look again although nothing was heard.
    """

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        *,
        clock: Clock = utc_now,
        workers: int = WORKERS,
        view: View | None = None,
    ) -> None:
        """Take what it needs; nothing happens before `run`.

        With a `view` of the cluster, what watches tell is kept there and reads come from there.
        """
        self._cluster: Cluster = cluster if view is None else view
        self._view = view
        self._settings = settings
        self._clock = clock
        self._workers = workers
        self._routes = Routes()
        self._failures: Counter[Key] = Counter()
        self._queue: KeyedQueue[Key] = KeyedQueue(on_time=self._doubt)
        self._beats: dict[str, float] = {}
        self._recorder = Recorder(self._cluster, busy=lambda: len(self._queue) > 0)

    def hint(self, event: WatchEvent, what: Watched) -> None:
        """Say that an object has changed; what it may concern is reconciled soon.

        The echo of a write of our own is looked at a little later: what it says was known when the
        plan was made, and a plan whose next step waits for it still gets its turn.
        """
        echo = False
        if self._view is not None:
            echo = self._view.wrote(event, what.api_version, what.kind)
            gone = self._view.feed(what.api_version, what.kind, event, what.namespace)
            for one in gone:
                self._add(WatchEvent("DELETED", one), what.kind)
        if event.type != "BOOKMARK":
            self._add(event, what.kind, echo=echo)

    def silence(self) -> float:
        """Return the seconds since the most silent watch was last heard of or tried again."""
        now = time.monotonic()
        return max((now - at for at in self._beats.values()), default=0.0)

    async def run(self, stop: asyncio.Event, sources: Sequence[Watched] | None = None) -> None:
        """Watch and reconcile until `stop` is set.

        It watches `sources`, by default all that matters; of the rest somebody else has to hint.
        A reconcile that is under way at the stop is cancelled: the next start goes on from there.
        """
        WAITING.set_function(lambda: len(self._queue))
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(stop.wait(), name="stop")]
        tasks.append(asyncio.create_task(self._recorder.run(), name="events"))
        tasks += [
            asyncio.create_task(self._watch(one), name=f"watch {one.kind}")
            for one in (watched(self._settings) if sources is None else sources)
        ]
        tasks += [
            asyncio.create_task(self._work(), name=f"reconcile {number}")
            for number in range(self._workers)
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._queue.close()
            self._beats.clear()
            await end(tasks)
            forget_replicas()

    def _add(self, event: WatchEvent, kind: str, *, echo: bool = False) -> None:
        looked_after = self._settings.watch_namespaces
        urgent = kind in KINDS and _is_new(event)
        for key in self._routes.keys(event, kind):
            if key == PLATFORM:
                self._queue.add_after(key, PLATFORM_DELAY)
            elif not looked_after or key.namespace in looked_after:
                if echo:
                    self._queue.add_after(key, ECHO_DELAY)
                else:
                    self._queue.add(key, urgent=urgent)

    def _doubt(self, key: Key) -> None:
        """Have a resource read anew that was long not heard of: a hint may have been lost."""
        if self._view is not None and key != PLATFORM:
            self._view.doubt(key.ref)

    async def _watch(self, what: Watched) -> None:
        since: str | None = None
        breaks = 0
        believed = 0.0
        name = f"{what.kind} {what.namespace}"
        while True:
            self._beats[name] = time.monotonic()
            if since is None:
                believed = asyncio.get_running_loop().time() + _believed()
                if self._view is not None:
                    self._view.expect(*what)
            try:
                events = self._cluster.watch(
                    what.api_version, what.kind, namespace=what.namespace, since=since
                )
                async with aclosing(events), asyncio.timeout_at(believed):
                    async for event in events:
                        breaks = 0
                        self._beats[name] = time.monotonic()
                        since = event.object["metadata"].get("resourceVersion", since)
                        self.hint(event, what)
                reason = "ended"
            except TimeoutError:
                since, reason = None, "aged"
            except Gone:
                since, reason = None, "gone"
            except KindMissing:
                since, reason = None, "missing"
                if self._view is not None:
                    self._view.give_up(*what)
                breaks = max(breaks, _MISSING_BREAKS)
            except ClusterError as problem:
                reason = "error"
                log.warning("the watch of %s broke: %s", what.kind, problem)
            breaks += 1
            WATCH_BREAKS.labels(what.kind, reason).inc()
            await asyncio.sleep(retry_delay(breaks).total_seconds())

    async def _work(self) -> None:
        queue = self._queue
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
                    result = await self._bring(key)
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

    async def _bring(self, key: Key) -> Result:
        if key == PLATFORM:
            return Result(*await reconcile_platform(self._cluster, self._settings))
        return await reconcile(
            self._cluster,
            key,
            self._settings,
            self._clock,
            self._recorder.record,
            self._queue.urgent,
        )

    def _failed(self, key: Key, said: str) -> timedelta:
        RECONCILES.labels(key.kind, "error").inc()
        self._failures[key] += 1
        delay = retry_delay(self._failures[key])
        log.warning("%s: %s; next try in %.1f s", key, said, delay.total_seconds())
        return delay
