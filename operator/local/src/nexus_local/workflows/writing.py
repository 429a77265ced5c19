"""Writing a run's state into its Workflow object."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from nexus_local.workflows.program import ARGO
from nexus_operator.cluster.errors import Unavailable
from nexus_operator.cluster.protocol import Cluster, Ref

T = TypeVar("T")
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0


class StatusWriter:
    """Writes only what changed since the last write of one Workflow.

    Merge patches: labels and status of other writers stay. A cluster that does not answer is
    tried again for as long as the run lives, since a transition that is not on disk must not
    have consequences.
    """

    def __init__(self, cluster: Cluster, workflow: Mapping[str, Any]) -> None:
        metadata = workflow["metadata"]
        self.cluster = cluster
        self.ref = Ref(ARGO, "Workflow", metadata["namespace"], metadata["name"])
        self.status: Mapping[str, Any] = workflow.get("status") or {}
        self.labels: Mapping[str, Any] = metadata.get("labels") or {}

    async def write(self, status: Mapping[str, Any], labels: Mapping[str, str]) -> None:
        """Bring status and labels up to date; keys of `status` not given here are left alone.

        Raises NotFound when the Workflow is gone.
        """
        wanted = {**self.status, **status}
        patch: dict[str, Any] = {}
        if changes := difference(self.status, wanted):
            patch["status"] = changes
        if marks := {key: value for key, value in labels.items() if self.labels.get(key) != value}:
            patch["metadata"] = {"labels": marks}
        if patch:
            await steadily(partial(self.cluster.patch, self.ref, patch))
            self.status, self.labels = wanted, {**self.labels, **labels}


async def steadily(call: Callable[[], Awaitable[T]]) -> T:
    """Call the cluster until it answers; any error but Unavailable is raised."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return await call()
        except Unavailable:
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch that turns `old` into `new`."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if inner := difference(before, value):
                patch[key] = inner
        elif key not in old or before != value:
            patch[key] = value
    return patch
