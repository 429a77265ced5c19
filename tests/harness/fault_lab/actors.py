"""What a cluster does to the operator's objects, scripted: engine, nodes, garbage collector."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from fault_lab.client import Client, Manifest, Refused
from fault_lab.kinds import BY_KIND
from fault_lab.mirror import Place

_OVER = frozenset({"Succeeded", "Failed", "Error"})
_GONE_OR_CHANGED = frozenset({404, 409})


@dataclass(frozen=True)
class Outcome:
    """How a Workflow ends; exit code 75 says that something it needs did not answer."""

    phase: Literal["Succeeded", "Failed"] = "Succeeded"
    exit_code: int = 1


@dataclass
class Actors:
    """Does what the rest of a cluster would, soon after each change.

    Workflows end as `outcomes` says, one after another, and well when it is empty; Deployments get
    ready; what lost its owner goes.  `held` keeps one of these from happening for a while.
    """

    client: Client
    places: tuple[Place, ...]
    clock: Callable[[], datetime]
    outcomes: deque[Outcome] = field(default_factory=deque)
    _held: set[str] = field(default_factory=set)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: dict[str, Outcome] = field(default_factory=dict)

    @contextmanager
    def held(self, what: Literal["runs", "rollouts"]) -> Iterator[None]:
        """Let Workflows run on, or Deployments be not ready, meanwhile."""
        self._held.add(what)
        try:
            yield
        finally:
            self._held.discard(what)
            self._news.set()

    async def run(self) -> None:
        """Act until cancelled."""
        for place in self.places:
            place.listeners.append(self._news.set)
        while True:
            await self._news.wait()
            self._news.clear()
            for place in self.places:
                for one in list(place.objects.values()):
                    await self._act(one)

    async def _act(self, one: Manifest) -> None:
        try:
            if one["kind"] == "Workflow" and "runs" not in self._held:
                await self._end(one)
            elif one["kind"] == "Deployment" and "rollouts" not in self._held:
                await self._make_ready(one)
            elif one["kind"] == "PersistentVolumeClaim":
                await self._release(one)
            await self._collect(one)
        except Refused as problem:
            if problem.code not in _GONE_OR_CHANGED:
                raise

    async def _end(self, workflow: Manifest) -> None:
        uid = workflow["metadata"]["uid"]
        if (workflow.get("status") or {}).get("phase") in _OVER or uid in self._ended:
            return
        outcome = self.outcomes.popleft() if self.outcomes else Outcome()
        self._ended[uid] = outcome
        status = ended(workflow, outcome, self.clock())
        await self.client.patch(_path(workflow), {"status": status})

    async def _make_ready(self, deployment: Manifest) -> None:
        wanted = deployment["spec"]["replicas"]
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            **dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas"), wanted),
            "availableReplicas": wanted,
        }
        present = deployment.get("status") or {}
        if any(present.get(key, 0) != value for key, value in status.items()):
            await self.client.patch(_path(deployment, "status"), {"status": status})

    async def _release(self, claim: Manifest) -> None:
        """Let a claim go that no pod uses, as its protection controller does."""
        metadata = claim["metadata"]
        if metadata.get("deletionTimestamp") and metadata.get("finalizers"):
            await self.client.patch(_path(claim), {"metadata": {"finalizers": None}})

    async def _collect(self, one: Manifest) -> None:
        """Delete what no owner is left of, as the garbage collector does."""
        owners = {owner["uid"] for owner in one["metadata"].get("ownerReferences") or ()}
        if not owners or one["metadata"].get("deletionTimestamp"):
            return
        # An owner that the mirror has never shown may be news that is still on its way.
        gone = not any(owners & place.alive for place in self.places)
        if gone and all(any(owner in place.known for place in self.places) for owner in owners):
            options = {"preconditions": {"uid": one["metadata"]["uid"]}}
            await self.client.delete(_path(one), **options)


def ended(workflow: Manifest, outcome: Outcome, at: datetime) -> Manifest:
    """Return the status of a Workflow that ended."""
    given = {one["name"]: one["value"] for one in workflow["spec"]["arguments"]["parameters"]}
    node: Manifest = {"id": "n1", "type": "Pod", "phase": outcome.phase}
    if outcome.phase == "Succeeded":
        text = report(given)
        node |= {"displayName": "publish"}
        node |= {"outputs": {"parameters": [{"name": "report", "value": text}]}}
    else:
        node |= {"displayName": "plan", "message": f"Error (exit code {outcome.exit_code})"}
    finished = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"phase": outcome.phase, "finishedAt": finished, "nodes": {"n1": node}}


def report(given: Mapping[str, str]) -> str:
    """Return what the publishing step of a sync tells."""
    fingerprint = given.get("fingerprint", "")
    counts = {"total": 5, "indexed": 5, "failed": 0, "pending": 0}
    told: dict[str, Any] = {"documents": counts, "chunks": 42, "fingerprint": fingerprint}
    return json.dumps({**told, "collection": f"collection_{fingerprint}"})


def _path(one: Manifest, subresource: str = "") -> str:
    metadata = one["metadata"]
    return BY_KIND[one["kind"]].path(metadata["namespace"], metadata["name"], subresource)
