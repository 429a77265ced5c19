"""The burst itself before a real API server: creating indexes, watching for their Workflows.

Only the metadata of Workflows is watched, so that the measurement takes little of the processor.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import httpx
import orjson
from burst_seen import Seen
from testcluster.control_plane import ControlPlane

CLIENTS = 32
PATIENCE = 600.0
QUIET_SECONDS = 2.0
"""For so long no request but watches and renewals may come before a burst counts as over."""

INDEXES = "/apis/llmops.nexus/v1alpha1/namespaces/default/ragindexes"
WORKFLOWS = "/apis/argoproj.io/v1alpha1/workflows"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_REQUESTS = re.compile(r"apiserver_request_total\{(.*)\} (\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@contextlib.asynccontextmanager
async def _session(running: ControlPlane) -> AsyncIterator[aiohttp.ClientSession]:
    certificate = running.folder / "certificates" / "apiserver.crt"
    tls = ssl.create_default_context(cafile=str(certificate))
    async with aiohttp.ClientSession(
        running.url,
        headers={"authorization": f"Bearer {running.token}"},
        connector=aiohttp.TCPConnector(ssl=tls, limit=CLIENTS + 1),
        timeout=aiohttp.ClientTimeout(total=PATIENCE),
        read_bufsize=1 << 20,
    ) as session:
        yield session


async def burst(running: ControlPlane, names: list[str]) -> Seen:
    """Create the indexes as fast as the API server takes them; wait for all their Workflows."""
    seen = Seen()
    watching = asyncio.Event()
    child = asyncio.create_task(child_watch(running, names, seen, watching))
    await watching.wait()
    await make(running, names, seen)
    await child
    return seen


async def make(running: ControlPlane, names: list[str], seen: Seen) -> None:
    """Create the indexes, some at a time."""
    waiting = iter(names)

    async def client(session: aiohttp.ClientSession) -> None:
        for name in waiting:
            body = {
                "apiVersion": "llmops.nexus/v1alpha1",
                "kind": "RagIndex",
                "metadata": {"name": name},
                "spec": {},
            }
            headers = {"content-type": "application/json", "accept": _METADATA}
            async with session.post(INDEXES, data=orjson.dumps(body), headers=headers) as answer:
                await answer.read()
                answer.raise_for_status()
            seen.made[name] = time.monotonic()

    async with _session(running) as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))


async def child_watch(
    running: ControlPlane, names: list[str], seen: Seen, watching: asyncio.Event | None = None
) -> None:
    """Note when the Workflow of each index comes; returns when all are there and all is quiet."""
    left = set(names)
    async with asyncio.timeout(PATIENCE), _session(running) as session:
        while left:  # a server ends the watch of who reads too slowly; a new one tells all again
            async for name in _children(session, watching):
                if name in left:
                    seen.child[name] = time.monotonic()
                    left.discard(name)
                if not left:
                    break
    seen.settled = await asyncio.to_thread(_await_quiet, running.client)


async def _children(
    session: aiohttp.ClientSession, watching: asyncio.Event | None
) -> AsyncIterator[str]:
    """Yield the index of each Workflow that is there or comes."""
    query = {"watch": "1", "timeoutSeconds": str(round(PATIENCE))}
    async with session.get(WORKFLOWS, params=query, headers={"accept": _METADATA}) as stream:
        stream.raise_for_status()
        if watching is not None:
            watching.set()
        async for text in stream.content:
            event = orjson.loads(text)
            if event["type"] == "ADDED":
                yield event["object"]["metadata"]["labels"]["llmops.nexus/index"]


def _await_quiet(client: httpx.Client) -> float:
    """Wait until nothing is asked for a while; return when something was for the last time."""
    deadline = time.monotonic() + PATIENCE
    last, since = requests(client), time.monotonic()
    while time.monotonic() < min(since + QUIET_SECONDS, deadline):
        time.sleep(0.2)
        now = requests(client)
        if now != last:
            last, since = now, time.monotonic()
    return since


def requests(client: httpx.Client) -> Counter[str]:
    """Return how many requests the API server has answered, by verb and resource.

    Watches, and what processes ask of themselves all the time, are left out.
    """
    found: Counter[str] = Counter()
    for labels, value in _REQUESTS.findall(client.get("/metrics").text):
        given = dict(_LABEL.findall(labels))
        verb, resource = given["verb"], given["resource"]
        if verb == "WATCH" or resource not in _COUNTED:
            continue
        code = "" if given["code"].startswith("2") else f" {given['code']}"
        found[f"{verb} {resource}{code}"] += round(float(value))
    return found


_COUNTED = frozenset({"ragindexes", "workflows", "events"})
