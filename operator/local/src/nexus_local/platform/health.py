"""Tell the person at the terminal when the platform serves, and when a part of it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

from nexus_api.meta import Manifest
from nexus_operator.cluster.protocol import Cluster

POLL_SECONDS = 0.05
TIMEOUT = aiohttp.ClientTimeout(total=5)


async def until_ready(url: str, stop: asyncio.Event) -> bool:
    """Return True when the gateway says that it serves, False when told to stop before."""
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        while not stop.is_set():
            try:
                async with session.get(f"{url}/readyz") as answer:
                    if answer.ok:
                        return True
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            await asyncio.sleep(POLL_SECONDS)
    return False


def complaint(pod: Manifest) -> str:
    """Why a pod's process does not stay up, in one line; empty when it does."""
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in ("CrashLoopBackOff", "ErrImageNeverPull", "StartError"):
            return f"{container['name']}: {waiting['reason']}: {waiting.get('message', '')}"
    return ""


async def report_failures(
    cluster: Cluster, namespace: str, tell: Callable[[str], None], mends: dict[str, str]
) -> None:
    """Say once for each failing spell of a platform part that it fails, why, and what to do."""
    told: dict[str, str] = {}
    async for event in cluster.watch("v1", "Pod", namespace=namespace):
        if event.type not in ("ADDED", "MODIFIED"):
            continue
        part = event.object["metadata"].get("labels", {}).get("app.kubernetes.io/component", "")
        why = complaint(event.object)
        if why and not told.get(part):
            tell(f"warning: {why}")
            if part in mends:
                tell(f"  {mends[part]}")
        told[part] = why
