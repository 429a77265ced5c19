"""The cases on the laptop's engine: its store, its node, its child processes."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from nexus_local.node.node import Node
from nexus_local.store.local import LocalCluster
from nexus_local.workflows.engine import WorkflowEngine

from .cases import COMMAND, NAMESPACE, Case

Manifest = dict[str, Any]
_SECONDS = 600
_STEP = Path(__file__).parents[3] / "cluster" / "images" / "scripted-step" / COMMAND


def config_map(cases: list[Case]) -> Manifest:
    """Return the ConfigMap from which the scripted steps learn what to do."""
    script = json.dumps({case.name: case.script for case in cases})
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "nexus-platform", "namespace": NAMESPACE},
        "data": {"NEXUS_SCRIPT": script},
    }


async def run(cases: list[Case], templates: list[Manifest], folder: Path) -> dict[str, Manifest]:
    """Return each case's finished Workflow."""
    cluster = LocalCluster(folder / "objects.db")
    node = Node(
        cluster,
        data_dir=folder / "node",
        entrypoints={COMMAND: (sys.executable, str(_STEP))},
    )
    engine = WorkflowEngine(cluster, node, scratch=folder / "outputs")
    stop = asyncio.Event()
    try:
        for manifest in (config_map(cases), *templates):
            await cluster.apply(manifest)
        running = [asyncio.create_task(part.run(stop)) for part in (node, engine)]
        for case in cases:
            await cluster.create(case.manifest())
        try:
            return await _finished(cluster, {case.name for case in cases})
        finally:
            stop.set()
            await asyncio.gather(*running)
    finally:
        cluster.close()


async def _finished(cluster: LocalCluster, names: set[str]) -> dict[str, Manifest]:
    done: dict[str, Manifest] = {}
    async with asyncio.timeout(_SECONDS):
        async for event in cluster.watch("argoproj.io/v1alpha1", "Workflow"):
            found = event.object
            if (found.get("status") or {}).get("finishedAt"):
                done[found["metadata"]["name"]] = found
            if done.keys() == names:
                return done
    raise AssertionError("the watch ended")
