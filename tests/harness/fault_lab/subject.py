"""The operator under test, in this process: started, killed and started again."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from fault_proxy.proxy import Tap

from nexus_operator.cluster.connection import Connection
from nexus_operator.cluster.kubernetes import KubernetesCluster
from nexus_operator.reconcile.controller import Controller
from nexus_operator.settings import Settings


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
        async with KubernetesCluster(Connection(server=url, token=token)) as cluster:
            await Controller(cluster, settings, clock=clock).run(self._stop)

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
