"""What all pods of one machine share, and the way from a pod to a running child."""

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from nexus_api.meta import Manifest
from nexus_local.node import subset, volumes
from nexus_local.node.children import Child, Children
from nexus_local.node.container import (
    EntryPoints,
    Launch,
    command_name,
    launch,
    passed_on,
    program,
)
from nexus_local.node.errors import PodRefusedError
from nexus_local.node.folders import Folders
from nexus_local.node.ports import Ports
from nexus_local.node.references import read_references
from nexus_local.node.traffic import Traffic
from nexus_local.node.warm import WarmProgram
from nexus_operator.cluster.protocol import Cluster

DEFAULT_GRACE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine: its objects, files, ports and children."""

    cluster: Cluster
    folders: Folders
    entrypoints: EntryPoints
    children: Children
    clock: Callable[[], datetime]
    ports: Ports = field(default_factory=Ports)
    traffic: Traffic = field(default_factory=Traffic)
    warm: Mapping[str, WarmProgram] = field(default_factory=dict)

    async def prepare(
        self,
        pod: Manifest,
        ports: Mapping[int | str, int],
        files: Mapping[str, Path] | None = None,
    ) -> Launch:
        """Make ready what the pod's container needs; raises PodRefusedError."""
        metadata, spec = pod["metadata"], pod["spec"]
        subset.check(spec)
        program(spec["containers"][0], self.entrypoints)
        references = await read_references(self.cluster, metadata["namespace"], spec)
        folder = self.folders.pod(metadata["namespace"], metadata["name"]).absolute()
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        return launch(
            pod,
            folder=folder,
            entrypoints=self.entrypoints,
            references=references,
            mounts=volumes.prepare(pod, self.folders, references),
            files=files or {},
            ports=ports,
            inherited=passed_on(os.environ),
        )

    def start(self, pod: Manifest, prepared: Launch) -> tuple[Child, Path]:
        """Start the pod's process and return it with its log; raises PodRefusedError."""
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        log = self.folders.new_log(namespace, name)
        child = self.children.start(
            prepared.argv,
            env=prepared.env,
            folder=prepared.folder,
            log=log,
            label=f"{namespace}/{name}",
        )
        return child, log

    async def start_step(self, pod: Manifest, prepared: Launch) -> tuple[Child, Path]:
        """Start the process of a workflow's pod, from a program held ready if there is one."""
        command = command_name(pod["spec"]["containers"][0])
        warm = self.warm.get(command)
        owners = pod["metadata"].get("ownerReferences") or ()
        of_workflow = any(owner["kind"] == "Workflow" for owner in owners)
        if warm is not None and of_workflow and await warm.available():
            namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
            log = self.folders.new_log(namespace, name)
            with contextlib.suppress(PodRefusedError):  # it ended just now: start cold
                child = await warm.start(
                    # As the program sees it: what starts an interpreter is not part of sys.argv.
                    prepared.argv[len(self.entrypoints[command]) - 1 :],
                    env=prepared.env,
                    folder=prepared.folder,
                    log=log,
                    label=f"{namespace}/{name}",
                )
                return child, log
        return self.start(pod, prepared)

    def take_ports(self, pod: Manifest) -> dict[int | str, int]:
        """Reserve a local port for each port of the container, by number and by name."""
        ports: dict[int | str, int] = {}
        for port in pod["spec"]["containers"][0].get("ports") or ():
            local = self.ports.take()
            ports[port["containerPort"]] = local
            if port.get("name"):
                ports[port["name"]] = local
        return ports

    def give_back_ports(self, ports: Mapping[int | str, int]) -> None:
        """End the reservations of a pod."""
        for port in set(ports.values()):
            self.ports.give_back(port)


def grace_seconds(pod: Manifest) -> float:
    """Return how long a container may take to end when asked to."""
    given = pod["spec"].get("terminationGracePeriodSeconds")
    return float(DEFAULT_GRACE_SECONDS if given is None else given)
