"""Tell the person at the terminal when the platform serves, and when a part of it does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from nexus_api.meta import Manifest
from nexus_local.node.folders import Folders
from nexus_operator.cluster.protocol import Cluster

FAILING = ("CrashLoopBackOff", "ErrImageNeverPull", "CreateContainerConfigError", "StartError")
COMPONENT = "app.kubernetes.io/component"
TAIL_BYTES = 4096
Tell = Callable[[str], None]


async def until_ready(cluster: Cluster, namespace: str, parts: set[str]) -> None:
    """Return when every part has a ready pod."""
    ready: set[str] = set()
    async for event in cluster.watch("apps/v1", "Deployment", namespace=namespace):
        if event.type == "BOOKMARK":
            continue
        name = event.object["metadata"]["name"]
        if event.type != "DELETED" and (event.object.get("status") or {}).get("readyReplicas"):
            ready.add(name)
        else:
            ready.discard(name)
        if parts <= ready:
            return


def failing(pod: Manifest) -> str:
    """Why a pod's process does not stay up, in a word; empty when it does."""
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in FAILING:
            return str(waiting["reason"])
    return ""


def is_ready(pod: Manifest) -> bool:
    """Whether a pod serves."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def last_words(folders: Folders, pod: Manifest) -> str:
    """How a pod's process ended, and the last line that it wrote."""
    meta = pod["metadata"]
    said = _said(folders, meta)
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        ended = (container.get("lastState") or {}).get("terminated") or {}
        if "exitCode" in ended:
            return f"exit code {ended['exitCode']}, last words: {said or 'none'}"
    return said or str((pod.get("status") or {}).get("message") or "it said nothing")


def _said(folders: Folders, meta: Manifest) -> str:
    for log in reversed(folders.log_files(meta["namespace"], meta["name"])):
        if line := _last_line(log):
            return line
    return ""


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


async def report_failures(
    cluster: Cluster, namespace: str, folders: Folders, tell: Tell, mends: Mapping[str, str]
) -> None:
    """Say once for each failing spell of a platform part that it fails, why, and what to do."""
    told: set[str] = set()
    async for event in cluster.watch("v1", "Pod", namespace=namespace):
        if event.type not in ("ADDED", "MODIFIED"):
            continue
        pod = event.object
        part = (pod["metadata"].get("labels") or {}).get(COMPONENT, "")
        if is_ready(pod):
            told.discard(part)
        elif (why := failing(pod)) and part not in told:
            told.add(part)
            tell(f"warning: {part} does not stay up ({why}): {last_words(folders, pod)}")
            if part in mends:
                tell(f"  {mends[part]}")
