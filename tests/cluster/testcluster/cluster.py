"""A Kubernetes cluster of one node for tests: real parts, in a network of its own.

with Cluster() as cluster:
    cluster.load_image(archive)
    cluster.kubectl("apply", "-f", "-", text=manifest)
    with cluster.joined():
        httpx.get("http://10.96.0.20")  # this thread is inside the cluster's network
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from testcluster import (
    addons,
    api,
    cgroups,
    control,
    daemons,
    leftovers,
    lock,
    network,
    node,
    render,
)
from testcluster import requirements as machine
from testcluster.config import ClusterConfig
from testcluster.errors import ClusterBusy, ClusterFailed, LeftBehind
from testcluster.tools import tools_folder

_WAIT_FOR_ANOTHER = 3600.0
_COMMAND_SECONDS = 600.0  # longer than what a command that waits is told


class Cluster:
    """A context manager; `up` and `down` do the same for a cluster that outlives its maker."""

    def __init__(self, config: ClusterConfig | None = None) -> None:
        self.config = config or ClusterConfig()
        self._made = False

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down()

    @property
    def kubeconfig(self) -> Path:
        """Return an administrator's credentials; they are of use inside the namespace alone."""
        return self.config.admin_kubeconfig

    def up(self, patience: float = _WAIT_FOR_ANOTHER) -> None:
        """Start the cluster; waits up to `patience` seconds while another runs on this machine.

        Raises ClusterUnavailable, ClusterBusy, ClusterFailed, BinaryMissing; leaves nothing then.
        """
        machine.check(self.config)
        addons.build(self.config)  # minutes when cold: before the lock
        held = lock.acquire(patience)
        self._made = True
        try:
            with lock.cleaning():
                leftovers.remove_all(self.config)  # of one that crashed
            try:
                self._start(held)
            except BaseException:
                leftovers.remove_all(self.config)
                raise
        finally:
            os.close(held)  # etcd has it open

    def down(self, *, force: bool = False) -> None:
        """Remove a cluster, or what a crash left of one.  Raises LeftBehind.

        Raises ClusterBusy for one that another process made and still is at work with, unless
        `force` is true.
        """
        if (user := lock.user()) and not force:
            if self._made:  # and it is gone, since there is another's by now
                return
            raise ClusterBusy(
                f"the cluster is in use by process {user}, which made it: end that process, or "
                "say `python tests/cluster/cluster.py down --force`"
            )
        with lock.cleaning():
            leftovers.remove_all(self.config)
            if left := leftovers.found(self.config):  # looked for before another one may start
                raise LeftBehind(f"left behind: {', '.join(left)}")

    def is_up(self) -> bool:
        """Return whether the cluster's parts run."""
        return "kubelet" in daemons.running(self.config) if self.config.folder.exists() else False

    def load_image(self, archive: Path) -> None:
        """Give the node the images of a Docker or OCI archive.  Raises ClusterFailed."""
        node.load_image(self.config, archive)

    def run(
        self,
        command: list[str],
        *,
        text: str | None = None,
        check: bool = True,
        seconds: float = _COMMAND_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside the cluster's network, with KUBECONFIG set and kubectl on PATH.

        `text` is its standard input.  Raises ClusterFailed when it fails and `check` is
        true, and when it does not end in time.
        """
        try:
            done = subprocess.run(
                network.inside(self.config, command),
                input=text,
                check=False,
                capture_output=True,
                text=True,
                timeout=seconds,
                env=self.environment(),
            )
        except subprocess.TimeoutExpired as error:
            raise ClusterFailed(
                f"`{' '.join(command)}` did not end within {seconds:.0f} s"
            ) from error
        if check and done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            raise ClusterFailed(f"`{' '.join(command)}` ended with {done.returncode}: {said}")
        return done

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl and return what it printed.  Raises ClusterFailed."""
        return self.run(["kubectl", *arguments], text=text).stdout

    def get(self, *arguments: str) -> Any:
        """Return what `kubectl get` finds, parsed.  Raises ClusterFailed."""
        return json.loads(self.kubectl("get", *arguments, "--output=json"))

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects server-side.  Raises ClusterFailed."""
        text = yaml.safe_dump_all([dict(one) for one in objects])
        self.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", text=text)

    def environment(self) -> dict[str, str]:
        """Return the environment of commands that use the cluster."""
        path = f"{tools_folder()}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {**os.environ, "PATH": path, "KUBECONFIG": str(self.kubeconfig)}

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Have this thread inside the cluster's network, and every thread or process it starts."""
        with network.joined(self.config):
            yield

    def _start(self, held: int) -> None:
        config = self.config
        config.folder.mkdir(parents=True)
        leftovers.remember_host(config)
        config.logs.mkdir()
        control.prepare(config)
        node.prepare(config)
        cgroups.create(config.name)
        network.create(config)
        control.start(config, held)
        with ThreadPoolExecutor(1) as beside:
            defined = beside.submit(addons.define, self)
            node.start(config)
            addons.load_images(config)
            self.apply(*render.storage(config))
            daemons.wait_until(config, "node ready", self._ready)
            defined.result()
        addons.apply(self)
        addons.wait(self)

    def _ready(self) -> bool:
        """Return whether the node takes pods, and the namespace `default` lets them be made."""
        account = api.read(self.config, "/api/v1/namespaces/default/serviceaccounts/default")
        found = api.read(self.config, f"/api/v1/nodes/{self.config.node_name}")
        if account is None or found is None:
            return False
        conditions = found["status"].get("conditions", [])
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
