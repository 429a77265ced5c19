"""One operator: its client, its turn by Lease, its controller; kopf runs while the turn lasts."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Self

from nexus_api.meta import API_VERSION
from nexus_operator.cluster.connection import Connection
from nexus_operator.cluster.errors import ClusterError
from nexus_operator.cluster.fenced import Fenced
from nexus_operator.cluster.kubernetes import KubernetesCluster
from nexus_operator.cluster.protocol import Ref, WatchEvent
from nexus_operator.cluster.view import View
from nexus_operator.ending import end
from nexus_operator.process.lease import Lease
from nexus_operator.process.options import Options
from nexus_operator.reconcile.controller import Controller
from nexus_operator.reconcile.kinds import KINDS
from nexus_operator.reconcile.routes import CHILD_SELECTOR, Watched, children, watched
from nexus_operator.settings import Owner, Settings

WORKERS = 32
"""Reconciles at a time: each waits for the API server most of its time.

With 96, before an API server that had a tenth of a processor, requests took so long that the Lease
was lost again and again: who asks for more at a time waits longer for each.
"""

WATCHED_HERE = ("RagIndex",)
"""Those of our kinds that come by thousands: the view watches them, kopf the others."""

SILENCE = 300.0
"""Seconds without a word from a watch, or a new try of it, after which the process is stuck."""

FRAME_SECONDS = 5.0
"""How long kopf may take to end."""

Frame = Callable[["Operator", asyncio.Event], Coroutine[None, None, None]]
"""Brings hints on those of our kinds that are not watched here, until the event is set."""

log = logging.getLogger(__name__)


class Operator:
    """Stands by until the Lease is free, then reconciles until it is lost or told to stop."""

    def __init__(self, options: Options, connection: Connection) -> None:
        """Take what it needs; nothing is sent before `run`."""
        self.connection = connection
        self.settings = options.settings
        self._options = options
        selectors = {one.kind: CHILD_SELECTOR for one in children(options.settings)}
        self._cluster = KubernetesCluster(connection, watch_only=selectors)
        self._lease = Lease(self._cluster, options.settings.platform_namespace, options.identity)
        self._controller: Controller | None = None
        self._view: View | None = None
        self.framed = False
        """Whether kopf is there to tell what happens to models and jobs."""

    async def run(self, frame: Frame, stop: asyncio.Event) -> None:
        """Run until `stop` is set; the Lease is released then."""
        async with self._cluster:
            while not stop.is_set():
                if not await _before(stop, self._lease.acquire()):
                    break
                await self._turn(frame, stop)

    def __copy__(self) -> Self:
        """Return itself: kopf copies what it hands to handlers, for each object."""
        return self

    def hint(self, kind: str, event: WatchEvent) -> None:
        """Pass on that an object of ours has changed."""
        if self._controller is not None:
            self._controller.hint(event, Watched(API_VERSION, kind, None))

    def unhealthy(self) -> str:
        """Return why a restart would help, nothing when it would not."""
        silent = self._controller.silence() if self._controller is not None else 0.0
        return f"a watch has been silent for {silent:.0f} s" if silent > SILENCE else ""

    def unready(self) -> str:
        """Return why it neither reconciles nor stands by, nothing when it does."""
        if self._view is not None and not self._view.synced():
            return "indexes and children are still being listed"
        if self._view is not None and not self.framed:
            return "models and jobs are not watched"
        return ""

    async def _turn(self, frame: Frame, stop: asyncio.Event) -> None:
        settings = await self._with_owner()
        watching = watched(settings, WATCHED_HERE)
        view = View(
            Fenced(self._cluster, self._lease),
            complete={(one.api_version, one.kind) for one in children(settings)},
            single={(API_VERSION, kind) for kind in KINDS},
        )
        for one in watching:
            view.expect(*one)
        self._view = view
        self._controller = Controller(self._cluster, settings, workers=WORKERS, view=view)
        halt = asyncio.Event()
        tasks = [
            asyncio.create_task(stop.wait(), name="stop"),
            asyncio.create_task(self._lease.keep(), name="lease"),
            asyncio.create_task(self._controller.run(halt, watching), name="controller"),
            asyncio.create_task(frame(self, halt), name="frame"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
                if task.get_name() == "frame":
                    stop.set()  # kopf heeds signals too
        finally:
            halt.set()
            tasks[0].cancel()
            await asyncio.gather(tasks[0], tasks[2], return_exceptions=True)
            self._controller = self._view = None
            # Nothing writes any more: kopf, which may take its time, only watches.
            tasks[1].cancel()
            await self._lease.release()
            await asyncio.wait(tasks, timeout=FRAME_SECONDS)
            await end(tasks)

    async def _with_owner(self) -> Settings:
        """Name the operator's own Deployment, with which goes what is made for all."""
        name = self._options.deployment
        if not name:
            return self.settings
        ref = Ref("apps/v1", "Deployment", self.settings.platform_namespace, name)
        try:
            found = await self._cluster.get(ref)
        except ClusterError as problem:
            log.warning("%s cannot be read, so nothing is owned by it: %s", ref, problem)
            return self.settings
        if found is None:
            log.warning("%s is not there, so nothing is owned by it", ref)
            return self.settings
        return replace(self.settings, owner=Owner(name=name, uid=found["metadata"]["uid"]))


async def _before(stop: asyncio.Event, waiting: Awaitable[None]) -> bool:
    """Wait for something; return whether it came before the stop."""
    task = asyncio.ensure_future(waiting)
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        return task.done() and not stop.is_set()
    finally:
        await end((task, stopped))
