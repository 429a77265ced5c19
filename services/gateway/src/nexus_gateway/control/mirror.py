"""Keeps the routes as the resources are: list, then watch, for ever.

When the API is down the last routes stay: answers do not depend on the control plane.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from typing import TypeAlias, TypeVar

from pydantic import ValidationError

from nexus_api.meta import Manifest
from nexus_gateway.control.client import ControlClient, ControlGone, ControlUnavailable
from nexus_gateway.control.routes import Key, Routes, index_route, key_of, model_route

LOG = logging.getLogger(__name__)
LONGEST_PAUSE = 10.0

R = TypeVar("R")
RouteOf: TypeAlias = Callable[[Manifest, R | None], R]
"""From an object, and the route that was known of it before, to its route."""


class Mirror:
    """Follows ServingModels and RagIndexes into `routes`."""

    def __init__(self, client: ControlClient, routes: Routes) -> None:
        self._client = client
        self._routes = routes
        self._listed: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self.connected = False

    @property
    def synced(self) -> bool:
        """Whether both kinds were listed once: before that nothing can be routed."""
        return len(self._listed) == 2  # noqa: PLR2004 - the two kinds

    def start(self) -> None:
        """Begin to follow."""
        models, indexes = self._routes.models, self._routes.indexes
        self._tasks = [
            asyncio.create_task(self._follow("servingmodels", models, model_route)),
            asyncio.create_task(self._follow("ragindexes", indexes, index_route)),
        ]

    async def stop(self) -> None:
        """Stop following."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, plural: str, table: dict[Key, R], route_of: RouteOf[R]) -> None:
        version, pause = "", 0.1
        while True:
            try:
                if not version:
                    manifests, version = await self._client.list(plural)
                    _replace(table, manifests, route_of)
                    self._listed.add(plural)
                self.connected = True
                async for event in self._client.watch(plural, version):
                    version = event.manifest["metadata"].get("resourceVersion", version)
                    if event.type == "DELETED":
                        table.pop(key_of(event.manifest), None)
                    elif event.type != "BOOKMARK":
                        _set(table, event.manifest, route_of)
                    pause = 0.1
            except ControlGone:
                version = ""
                continue
            except (ControlUnavailable, KeyError, TypeError) as error:
                self.connected = False
                LOG.warning("the control API: %s; routes stay as they are", error)
                version = ""
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(LONGEST_PAUSE, pause * 2)


def _replace(table: dict[Key, R], manifests: Iterable[Manifest], route_of: RouteOf[R]) -> None:
    seen = {key_of(manifest): manifest for manifest in manifests}
    for key in table.keys() - seen.keys():
        del table[key]
    for manifest in seen.values():
        _set(table, manifest, route_of)


def _set(table: dict[Key, R], manifest: Manifest, route_of: RouteOf[R]) -> None:
    """Take one object; one that we cannot read leaves what was known before."""
    key = key_of(manifest)
    try:
        table[key] = route_of(manifest, table.get(key))
    except (ValidationError, ValueError) as error:
        namespace, name = key
        LOG.warning("cannot read %s/%s: %s", namespace, name, error)
