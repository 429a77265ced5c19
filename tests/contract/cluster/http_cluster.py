"""The Cluster protocol over the Kubernetes-shaped HTTP API, as a remote client sees it."""

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import aiohttp

from nexus_local.store.kinds import kind_of
from nexus_operator.cluster.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    Gone,
    Invalid,
    NotFound,
)
from nexus_operator.cluster.protocol import FIELD_MANAGER, Ref, WatchEvent

Manifest = dict[str, Any]
ERRORS: dict[str, type[ClusterError]] = {
    "NotFound": NotFound,
    "AlreadyExists": AlreadyExists,
    "Conflict": Conflict,
    "Invalid": Invalid,
    "Expired": Gone,
}


def raise_for(status: Manifest) -> None:
    raise ERRORS.get(status["reason"], ClusterError)(status["message"])


def path(api_version: str, kind: str, namespace: str | None, name: str = "") -> str:
    try:
        plural = kind_of(api_version, kind).plural
    except NotFound:
        plural = kind.lower() + "s"
    root = "apis" if "/" in api_version else "api"
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"/{root}/{api_version}{scope}/{plural}" + (f"/{name}" if name else "")


def place(manifest: Manifest) -> str:
    return str(manifest["metadata"].get("namespace") or "default")


class HttpCluster:
    """One session with one API server."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def get(self, ref: Ref) -> Manifest | None:
        try:
            return await self._send("GET", path(*ref))
        except NotFound:
            return None

    async def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> list[Manifest]:
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
        query = {"labelSelector": selector}
        answer = await self._send("GET", path(api_version, kind, namespace), params=query)
        return list(answer["items"])

    async def create(self, manifest: Manifest) -> Manifest:
        where = path(manifest["apiVersion"], manifest["kind"], place(manifest))
        return await self._send("POST", where, json=manifest)

    async def apply(
        self, manifest: Manifest, *, manager: str = FIELD_MANAGER, force: bool = True
    ) -> Manifest:
        name = manifest["metadata"]["name"]
        return await self._send(
            "PATCH",
            path(manifest["apiVersion"], manifest["kind"], place(manifest), name),
            params={"fieldManager": manager, "force": "true" if force else "false"},
            data=json.dumps(manifest),
            headers={"content-type": "application/apply-patch+yaml"},
        )

    async def patch(self, ref: Ref, patch: Manifest, *, subresource: str = "") -> Manifest:
        return await self._send(
            "PATCH",
            path(*ref) + (f"/{subresource}" if subresource else ""),
            data=json.dumps(patch),
            headers={"content-type": "application/merge-patch+json"},
        )

    async def delete(self, ref: Ref, *, uid: str | None = None) -> None:
        options = {"preconditions": {"uid": uid}} if uid else {}
        try:
            await self._send("DELETE", path(*ref), json=options)
        except NotFound:
            return

    async def log(self, pod: Ref, *, container: str, lines: int) -> str:
        query = {"container": container, "tailLines": str(lines)}
        async with self._session.get(f"{path(*pod)}/log", params=query) as response:
            if response.status >= 400:
                raise_for(await response.json())
            return await response.text()

    async def ask(self, url: str) -> bytes:
        raise AssertionError(f"the API is no way to a pod's own address: {url}")

    async def watch(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        since: str | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        query = {"watch": "1", "resourceVersion": since or ""}
        async with self._session.get(path(api_version, kind, namespace), params=query) as response:
            if response.status >= 400:
                raise_for(await response.json())
            async for line in response.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise_for(event["object"])
                yield WatchEvent(event["type"], event["object"])

    async def _send(self, method: str, where: str, **request: Any) -> Manifest:
        async with self._session.request(method, where, **request) as response:
            answer = dict(await response.json())
        if response.status >= 400:
            raise_for(answer)
        return answer
