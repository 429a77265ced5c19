"""The operator under test, in this process: started, killed and started again.

It is put together as the process `nexus-operator` does it, but for two parts: kopf, which brings
hints on models and jobs there, and the Lease.  Without a Lease two operators really write at once,
which is harder than what the process lets happen.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from fault_proxy.proxy import Tap

from nexus_api.meta import API_VERSION
from nexus_operator.cluster.connection import Connection
from nexus_operator.cluster.kubernetes import KubernetesCluster
from nexus_operator.cluster.view import View
from nexus_operator.reconcile.controller import Controller
from nexus_operator.reconcile.kinds import KINDS
from nexus_operator.reconcile.routes import CHILD_SELECTOR, children
from nexus_operator.settings import Settings


class Operator(Protocol):
    """One start of the operator behind one tap of the proxy."""

    tap: Tap

    @property
    def running(self) -> bool:
        """Whether it runs; an operator that ended by itself has crashed."""

    def kill(self) -> None:
        """End it without giving it a chance to say anything more."""

    async def end(self) -> None:
        """Stop it as a SIGTERM would and wait; raises what it crashed of."""


class Subject:
    """One start of the operator behind one tap of the proxy.

    `kill` ends it at once: what it would still send after that never leaves the proxy.
    """

    def __init__(
        self, tap: Tap, token: str, settings: Settings, clock: Callable[[], datetime]
    ) -> None:
        """Start it."""
        self.tap = tap
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run(tap.url, token, settings, clock))

    async def _run(
        self, url: str, token: str, settings: Settings, clock: Callable[[], datetime]
    ) -> None:
        watching = children(settings)
        selectors = {one.kind: CHILD_SELECTOR for one in watching}
        connection = Connection(server=url, token=token)
        async with KubernetesCluster(connection, watch_only=selectors) as cluster:
            complete = {(one.api_version, one.kind) for one in watching}
            single = {(API_VERSION, kind) for kind in KINDS}
            view = View(cluster, complete=complete, single=single)
            for one in watching:
                view.expect(*one)
            await Controller(cluster, settings, clock=clock, view=view).run(self._stop)

    @property
    def running(self) -> bool:
        """Whether it runs; an operator that ended by itself has crashed."""
        return not self._task.done()

    def kill(self) -> None:
        """End it without giving it a chance to say anything more."""
        self.tap.cut()
        self._task.cancel()

    async def end(self) -> None:
        """Stop it as a SIGTERM would and wait; raises what it crashed of."""
        self._stop.set()
        try:
            await self._task
        except asyncio.CancelledError:
            if not self.tap.dead:
                raise
