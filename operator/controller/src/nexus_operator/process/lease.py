"""The Lease by which one operator at a time writes; a second one waits until it is free."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from nexus_api.meta import Manifest
from nexus_operator.cluster.errors import AlreadyExists, ClusterError, Conflict, NotFound
from nexus_operator.cluster.protocol import Cluster, Ref

DURATION = timedelta(seconds=15)
"""How long a Lease holds that is not renewed."""

RENEW_EVERY = timedelta(seconds=4)
WRITE_FOR = timedelta(seconds=10)
"""How long after a renewal its holder may write; the rest of the duration is for slow requests."""

NAME = "nexus-operator"

_TRIES = 4
"""Of one renewal, each with a fresh read, when others write to the Lease at the same time."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class Lease:
    """One Lease object and our claim to it.

    Another holder counts as gone when the Lease has not changed for its own duration, measured by
    our own clock from when we saw it first: clocks of machines need not agree.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        identity: str,
        *,
        duration: timedelta = DURATION,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Claim nothing yet; `identity` names this process and no other."""
        self._cluster = cluster
        self._ref = Ref("coordination.k8s.io/v1", "Lease", namespace, NAME)
        self._identity = identity
        self._duration = duration
        self._monotonic = monotonic
        self._until = float("-inf")
        self._seen: tuple[str, float] = ("", 0.0)

    @property
    def held(self) -> bool:
        """Whether we may write now."""
        return self.remaining > 0

    @property
    def remaining(self) -> float:
        """Seconds for which we may still write, 0 or less when we may not."""
        return self._until - self._monotonic()

    async def acquire(self) -> None:
        """Wait until the Lease is ours; errors of the cluster only delay."""
        told = ""
        while not self.held:
            try:
                holder = await self._try()
            except ClusterError as problem:
                holder = str(problem)
            if not self.held:
                if holder != told:
                    log.info("waiting for the Lease %s: %s", self._ref, holder)
                told = holder
                await asyncio.sleep(RENEW_EVERY.total_seconds() / 2)
        log.info("holding the Lease %s as %s", self._ref, self._identity)

    async def keep(self) -> None:
        """Renew until the Lease is lost; returns then, and nothing may be written any more."""
        while self.held:
            await asyncio.sleep(min(RENEW_EVERY.total_seconds(), max(self.remaining, 0)))
            try:
                async with asyncio.timeout(max(self.remaining, 0)):
                    holder = await self._try()
            except (ClusterError, TimeoutError) as problem:
                log.warning("the Lease %s could not be renewed: %s", self._ref, problem or "late")
                continue
            if holder != self._identity:
                self._until = float("-inf")
                log.error("the Lease %s was taken by %s", self._ref, holder)
        log.error("the Lease %s is lost: nothing is written from now on", self._ref)

    async def release(self) -> None:
        """Give the Lease up at once, so that the next holder need not wait for its end."""
        if not self.held:
            return
        self._until = float("-inf")
        try:
            await _read_again(self._give_up)
        except ClusterError as problem:
            log.warning("the Lease %s could not be released: %s", self._ref, problem)

    async def _try(self) -> str:
        """Take or renew the Lease if it is free or ours; return who holds it now.

        That somebody wrote to it meanwhile says nothing of who holds it: it is read again.  Raises
        ClusterErrors, a Conflict when it changed each time.
        """
        return await _read_again(self._try_once)

    async def _try_once(self) -> str:
        asked = self._monotonic()
        found = await self._cluster.get(self._ref)
        if found is None:
            await self._create()
        else:
            holder = _holder(found)
            if holder not in {"", self._identity} and not self._expired(found):
                return holder
            await self._write(found, self._claim(found))
        self._until = asked + min(WRITE_FOR, self._duration * 2 / 3).total_seconds()
        return self._identity

    async def _give_up(self) -> None:
        found = await self._cluster.get(self._ref)
        if found is not None and _holder(found) == self._identity:
            await self._write(found, {"holderIdentity": "", "leaseDurationSeconds": 1})

    def _expired(self, found: Manifest) -> bool:
        version = str(found["metadata"]["resourceVersion"])
        now = self._monotonic()
        if version != self._seen[0]:
            self._seen = (version, now)
        seconds = float(found["spec"].get("leaseDurationSeconds") or 0)
        return now - self._seen[1] > seconds

    def _claim(self, found: Manifest) -> Manifest:
        spec: Manifest = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": round(self._duration.total_seconds()),
            "renewTime": _now(),
        }
        before = found.get("spec") or {}
        if before.get("holderIdentity") != self._identity:
            spec["acquireTime"] = _now()
            spec["leaseTransitions"] = int(before.get("leaseTransitions") or 0) + 1
        return spec

    async def _create(self) -> None:
        metadata = {"name": self._ref.name, "namespace": self._ref.namespace}
        await self._cluster.create(
            {
                "apiVersion": self._ref.api_version,
                "kind": self._ref.kind,
                "metadata": metadata,
                "spec": {**self._claim({}), "leaseTransitions": 0},
            }
        )

    async def _write(self, found: Manifest, spec: Manifest) -> None:
        version = found["metadata"]["resourceVersion"]
        patch = {"metadata": {"resourceVersion": version}, "spec": spec}
        await self._cluster.patch(self._ref, patch)


async def _read_again(step: Callable[[], Awaitable[T]]) -> T:
    """Take a step, and anew where what it had read was not true any more."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(AlreadyExists, Conflict, NotFound):
            return await step()
    return await step()


def _holder(found: Manifest) -> str:
    return str((found.get("spec") or {}).get("holderIdentity") or "")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
