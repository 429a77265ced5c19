"""Run the whole platform: one process, its children, until told to stop."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import yaml

from nexus_api.meta import Manifest
from nexus_local.api.server import ControlServer
from nexus_local.node import Node, Preload, logs
from nexus_local.node.folders import Folders
from nexus_local.platform import components, health, uploads
from nexus_local.platform.layout import (
    Layout,
    default_model_cache,
    read_json,
    registry,
    write_private,
)
from nexus_local.store.errors import StoreError
from nexus_local.store.local import LocalCluster
from nexus_local.workflows.engine import WorkflowEngine
from nexus_operator.cluster.protocol import Cluster, Ref
from nexus_operator.reconcile.controller import Controller
from nexus_operator.settings import ModelCache, Settings

MODEL_CLAIM = "nexus-models"
STEPS = Preload(
    "nexus_pipelines.cli:main",
    ("sqlalchemy", "numpy", "pymilvus", "tokenizers"),
)
T = TypeVar("T")
Tell = Callable[[str], None]


class PlatformError(Exception):
    """The platform cannot start or go on; one sentence says why and what to do."""


@dataclass(frozen=True)
class Options:
    """What the person who starts the platform chose."""

    layout: Layout
    port: int
    embedding_model: str
    gateway_env: dict[str, str] = field(default_factory=dict)
    monitor_env: dict[str, str] | None = None
    """None runs no monitor."""
    tracking_url: str = ""
    """Of an MLflow server; empty for the registry of the data directory."""
    model_cache: Path = field(default_factory=default_model_cache)

    @property
    def parts(self) -> list[str]:
        """The platform's own parts that run."""
        return components.parts(monitor=self.monitor_env is not None)

    @property
    def tracking(self) -> str:
        """Where runs are tracked and versions registered."""
        return self.tracking_url or f"sqlite:///{self.layout.tracking}"

    @property
    def url(self) -> str:
        """Where the gateway answers."""
        return f"http://127.0.0.1:{self.port}"


async def run(options: Options, stop: asyncio.Event, *, tell: Tell) -> None:
    """Run until `stop` is set; tells `ready URL` once it serves, and warnings.

    Raises:
        PlatformError: the data directory is in use, damaged or closed, the port is taken, or the
            address of MLflow is none.
    """
    _check_tracking(options.tracking_url)
    _check_port(options.port)
    try:
        options.layout.create()
        options.model_cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlatformError(
            f"{error.filename} cannot be used ({error.strerror}): name a folder of your own with "
            "--data-dir, and one for models with NEXUS_MODEL_CACHE"
        ) from error
    try:
        folders = Folders(options.layout.node)
        cluster = LocalCluster(options.layout.objects, printed=partial(logs.printed, folders))
    except StoreError as error:
        raise PlatformError(str(error)) from error
    try:
        await _serve(cluster, options, stop, tell)
    finally:
        cluster.close()


def _check_tracking(url: str) -> None:
    try:
        parts = urlsplit(url)
        server = parts.scheme in {"http", "https"} and parts.hostname
    except ValueError:
        server = False
    if url and not server:
        raise PlatformError(
            "--tracking-url (NEXUS_TRACKING_URL) has to be that of an MLflow server, as "
            "http://localhost:5000; leave it out for the registry of the data directory"
        )


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PlatformError(
                f"port {port} on 127.0.0.1 cannot be used ({error.strerror}): "
                "choose another with --port"
            ) from error


def entry_points() -> dict[str, tuple[str, ...]]:
    """The commands that containers may run, from this installation alone."""
    folder = Path(sys.executable).parent
    return {name: (str(folder / name),) for name in components.ENTRY_POINTS}


async def _serve(cluster: LocalCluster, options: Options, stop: asyncio.Event, tell: Tell) -> None:
    layout = options.layout
    node = Node(
        cluster,
        data_dir=layout.node,
        entrypoints=entry_points(),
        claims={MODEL_CLAIM: options.model_cache},
        preloads={"nexus-pipelines": STEPS},
    )
    engine = WorkflowEngine(cluster, node, scratch=layout.work / "outputs")
    controller = Controller(cluster, Settings(model_cache=ModelCache(claim=MODEL_CLAIM)))
    control = ControlServer(cluster, folders=node.folders, control_file=layout.control)
    async with control, _published(options):
        await _declare(cluster, options)
        steps_ended = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(node.run(steps_ended))
            watching = [
                group.create_task(_report(cluster, node, layout, tell)),
                group.create_task(_announce(cluster, options, tell)),
            ]
            driving = None
            if await _bring_up(cluster, node, options, control, stop):
                driving = group.create_task(engine.run(stop))
                group.create_task(controller.run(stop))
                group.create_task(uploads.watch_bucket(cluster, layout.bucket, stop))
            await stop.wait()
            for task in watching:
                task.cancel()
            # The node kills what runs when it ends: a training would lose what it has not kept yet.
            if driving is not None:
                await asyncio.wait([driving])
            steps_ended.set()


async def _declare(cluster: Cluster, options: Options) -> None:
    """Put in place what needs no address, and take away what knows those of the last start."""
    for template in workflow_templates():
        await cluster.apply(template)
    for name in components.PORTS:
        for api_version, kind in (("apps/v1", "Deployment"), ("v1", "Service")):
            await cluster.delete(Ref(api_version, kind, components.NAMESPACE, name))
    for service in components.services(options.port, monitor=options.monitor_env is not None):
        await cluster.apply(service)


def workflow_templates() -> list[Manifest]:
    """The DAGs of argo/, as they are installed with this package, in the platform's namespace."""
    found: list[Manifest] = []
    for file in files("nexus_local").joinpath("argo").iterdir():
        if file.name.endswith(".yaml"):
            found += yaml.safe_load_all(file.read_text(encoding="utf-8"))
    for template in found:
        template["metadata"]["namespace"] = components.NAMESPACE
    return found


async def _bring_up(
    cluster: Cluster, node: Node, options: Options, control: ControlServer, stop: asyncio.Event
) -> bool:
    """Start the platform's own parts; False when told to stop before all was declared."""
    urls = {"control": control.url, "tracking": options.tracking}
    for name in options.parts:
        address = await _first(stop, _address(cluster, name))
        if address is None:
            return False
        urls[name] = address
    # Not before: of two platforms that begin at once on one port, one of them has it.
    write_private(registry(options.url), {"data_dir": str(options.layout.root), "pid": os.getpid()})
    await cluster.apply(components.config_map(options.layout, options.model_cache, urls))
    await cluster.apply(components.control_secret(control.token))
    await cluster.apply(components.judge_secret(os.environ))
    migrated = asyncio.create_task(_migrate(node))
    for deployment in components.deployments(
        options.embedding_model, options.gateway_env, options.monitor_env
    ):
        await cluster.apply(deployment)
    if await _first(stop, migrated) is None:
        return False
    await uploads.request_all(cluster, "start")
    return True


async def _address(cluster: Cluster, name: str) -> str:
    """The address of a platform Service once the node listens for it.

    Raises:
        PlatformError: the port that it asks for belongs to another program.
    """
    ref = Ref("v1", "Service", components.NAMESPACE, name)
    async for event in cluster.watch(ref.api_version, ref.kind, namespace=ref.namespace):
        if event.object["metadata"].get("name") != name:
            continue
        status = event.object.get("status") or {}
        for condition in status.get("conditions") or []:
            if condition["type"] == "PortsBound" and condition["status"] == "False":
                raise PlatformError(condition["message"])
        for ingress in status.get("loadBalancer", {}).get("ingress") or []:
            return f"http://{ingress['ip']}:{ingress['ports'][0]['port']}"
    raise PlatformError(f"the address of {name} was never known")


async def _migrate(node: Node) -> bool:
    """Bring the ledger to this release before anything reads it."""
    result = await node.run_once(components.migration(), env_paths={})
    if result.exit_code != 0:
        log_text = result.log_path.read_text(encoding="utf-8") if result.log_path else ""
        said = (result.message or log_text.strip()).splitlines()[-3:]
        raise PlatformError("the ledger could not be brought up to date: " + " ".join(said))
    return True


async def _first(stop: asyncio.Event, work: Awaitable[T]) -> T | None:
    """The outcome of some work, or None when told to stop before."""
    task, stopping = asyncio.ensure_future(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for each in (task, stopping):
            each.cancel()
        await asyncio.gather(task, stopping, return_exceptions=True)


async def _announce(cluster: Cluster, options: Options, tell: Tell) -> None:
    await health.until_ready(cluster, components.NAMESPACE, set(options.parts))
    tell(f"ready {options.url}")


async def _report(cluster: Cluster, node: Node, layout: Layout, tell: Tell) -> None:
    volume = layout.node / "volumes" / components.NAMESPACE / "milvus"
    mends = {
        "milvus": f"if its files are damaged, stop, move {volume} away and start again: "
        "the index is rebuilt from the documents"
    }
    await health.report_failures(cluster, components.NAMESPACE, node.folders, tell, mends)


@asynccontextmanager
async def _published(options: Options) -> AsyncIterator[None]:
    """While the platform runs, say in its data directory where it answers.

    At the end what the registry says of its port goes too, unless that is another platform's.
    """
    endpoint, entry = options.layout.endpoint, registry(options.url)
    write_private(endpoint, {"url": options.url, "pid": os.getpid()})
    try:
        yield
    finally:
        endpoint.unlink(missing_ok=True)
        if read_json(entry).get("data_dir") == str(options.layout.root):
            entry.unlink(missing_ok=True)
