"""The cluster behind a real Kubernetes API server.  Contract suite: tests/contract/cluster."""

import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Self

from nexus_api.meta import Manifest
from nexus_operator.cluster.connection import Connection
from nexus_operator.cluster.discovery import Discovery, Served
from nexus_operator.cluster.errors import Conflict, Gone, Invalid, KindMissing, NotFound
from nexus_operator.cluster.pod_transport import PodTransport
from nexus_operator.cluster.protocol import FIELD_MANAGER, Manifests, Ref, WatchEvent
from nexus_operator.cluster.transport import Transport, error_of
from nexus_operator.objects import ref_of

PAGE = 500
"""Objects in one answer to a list."""

LOG_BYTES = 64 * 1024
"""As much of a log is read at most."""

LOG_SECONDS = 3.0
"""As long a log is waited for: the API server asks the kubelet, which may be gone."""

WATCH_SECONDS = (300, 600)
"""A watch is ended by the server within this range, each after another time."""

_LISTINGS = 3
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_STRICT = {"fieldValidation": "Strict", "fieldManager": FIELD_MANAGER}


class KubernetesCluster:
    """Kubernetes objects by reference, over HTTP; managedFields are dropped on receipt.

    Requests end within a minute.  Reads are repeated when the server is busy; writes are not,
    beyond those that it says it did not look at.
    """

    def __init__(
        self, connection: Connection, *, watch_only: Mapping[str, str] | None = None
    ) -> None:
        """Take the address; nothing is sent before the first request.

        `watch_only` has a label selector for each kind of which only some objects are watched.
        """
        self._selectors = dict(watch_only or {})
        self._transport = Transport(connection)
        self._discovery = Discovery(self._transport)
        self._pods = PodTransport()

    async def get(self, ref: Ref) -> Manifest | None:
        """Return the object, or None when it is not there; raises KindMissing."""
        try:
            return await self._send("GET", ref)
        except KindMissing:
            raise
        except NotFound:
            return None

    async def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Manifests:
        """Return the objects of one kind, in one namespace or in all, that carry all `labels`."""
        selector = ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items()))
        _, found = await self.list_at(api_version, kind, namespace=namespace, selector=selector)
        return found

    async def list_at(
        self, api_version: str, kind: str, *, namespace: str | None = None, selector: str = ""
    ) -> tuple[str, Manifests]:
        """Return the resource version and the objects as of it, read in pages.

        `selector` is a label selector in Kubernetes' own notation.
        """
        served = await self._discovery.served(api_version, kind)
        for listing in range(_LISTINGS):
            try:
                return await self._pages(served, api_version, kind, namespace, selector)
            except Gone:  # the listing took longer than the server keeps old versions
                if listing + 1 == _LISTINGS:
                    raise
        raise AssertionError

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; raises AlreadyExists, Invalid or KindMissing."""
        ref = ref_of(manifest)
        return await self._send("POST", ref._replace(name=""), body=manifest, what=str(ref))

    async def apply(
        self, manifest: Manifest, *, manager: str = FIELD_MANAGER, force: bool = True
    ) -> Manifest:
        """Server-side apply; raises Invalid or Conflict."""
        body = {key: value for key, value in manifest.items() if key != "status"}
        params = {"fieldManager": manager, "force": "true" if force else "false"}
        try:
            return await self._send(
                "PATCH", ref_of(manifest), body=body, content_type=_APPLY, params=params
            )
        except Invalid as problem:
            if "metadata.uid" in str(problem) and manifest["metadata"].get("uid"):
                # Another object has the name; the server takes that for a change of the uid.
                raise Conflict(str(problem)) from problem
            raise

    async def patch(self, ref: Ref, patch: Manifest, *, subresource: str = "") -> Manifest:
        """JSON merge patch of the object or of its subresource.

        A status is written even when the definition installed is older and lacks a field of it.
        """
        lenient = {"fieldValidation": "Warn"} if subresource else {}
        return await self._send(
            "PATCH",
            ref,
            subresource=subresource,
            body=patch,
            content_type=_MERGE,
            params=lenient,
        )

    async def delete(self, ref: Ref, *, uid: str | None = None) -> None:
        """Delete in the background; what is not there is fine, another uid is a Conflict."""
        options: Manifest = {"propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            await self._send("DELETE", ref, body=options)
        except NotFound:
            return

    async def log(self, pod: Ref, *, container: str, lines: int) -> str:
        """Return the last lines that a container printed; see LOG_BYTES."""
        served = await self._discovery.served(pod.api_version, pod.kind)
        answer = await self._transport.text(
            served.path(pod.namespace, pod.name, "log"),
            what=f"read the log of {pod}",
            kind=pod.kind,
            params={
                "container": container,
                "tailLines": str(lines),
                "limitBytes": str(LOG_BYTES),
            },
            seconds=LOG_SECONDS,
        )
        return answer.decode(errors="replace")

    async def ask(self, url: str) -> bytes:
        """Return what a pod answers; it is not asked through the API server."""
        return await self._pods.ask(url)

    async def watch(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        since: str | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Yield changes for ever; raises Gone when `since` has been compacted, else Unavailable.

        Without `since` it starts with ADDED for everything there, then one BOOKMARK.
        """
        served = await self._discovery.served(api_version, kind)
        selector = self._selectors.get(kind, "")
        if since is None:
            since, there = await self.list_at(
                api_version, kind, namespace=namespace, selector=selector
            )
            for one in there:
                yield WatchEvent("ADDED", one)
            del there
            metadata = {"resourceVersion": since}
            bookmark = {"apiVersion": api_version, "kind": kind, "metadata": metadata}
            yield WatchEvent("BOOKMARK", bookmark)
        while True:
            params = {
                "watch": "1",
                "allowWatchBookmarks": "true",
                "resourceVersion": since,
                "timeoutSeconds": str(random.randint(*WATCH_SECONDS)),  # noqa: S311 - spreads load
                "labelSelector": selector,
            }
            what = f"watch of {kind}"
            try:
                lines = self._transport.stream(
                    served.path(namespace), what=what, kind=kind, params=params
                )
                async with aclosing(lines):
                    async for line in lines:
                        event = _event(line, what)
                        since = str(event.object["metadata"]["resourceVersion"])
                        yield event
            except KindMissing:
                self._discovery.forget(api_version)
                raise

    async def close(self) -> None:
        """End all connections."""
        await self._transport.close()
        await self._pods.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _pages(
        self, served: Served, api_version: str, kind: str, namespace: str | None, selector: str
    ) -> tuple[str, Manifests]:
        found: Manifests = []
        params = {"limit": str(PAGE), "labelSelector": selector}
        while True:
            answer = await self._transport.request(
                "GET",
                served.path(namespace),
                what=f"list of {kind}",
                kind=kind,
                params=params,
            )
            for item in answer.get("items") or ():
                found.append(_slim({"apiVersion": api_version, "kind": kind, **item}))
            metadata = answer["metadata"]
            if not metadata.get("continue"):
                return str(metadata["resourceVersion"]), found
            params = {**params, "continue": str(metadata["continue"])}

    async def _send(
        self,
        method: str,
        ref: Ref,
        *,
        subresource: str = "",
        body: Manifest | None = None,
        content_type: str = "application/json",
        params: Mapping[str, str] | None = None,
        what: str = "",
    ) -> Manifest:
        served = await self._discovery.served(ref.api_version, ref.kind)
        writing = {} if method in {"GET", "DELETE"} else _STRICT
        try:
            answer = await self._transport.request(
                method,
                served.path(ref.namespace or "default", ref.name, subresource),
                what=f"{_VERBS[method]} {what or ref}",
                kind=ref.kind,
                params={**writing, **(params or {})},
                body=body,
                content_type=content_type,
            )
        except KindMissing:
            self._discovery.forget(ref.api_version)
            raise
        return _slim(answer)


_VERBS = {"GET": "read", "POST": "create", "PATCH": "patch", "DELETE": "delete"}


def _slim(manifest: Manifest) -> Manifest:
    """Drop who owns which field: as large as the rest of an object, and of no use here."""
    metadata = manifest.get("metadata")
    if metadata:
        metadata.pop("managedFields", None)
    return manifest


def _event(line: Manifest, what: str) -> WatchEvent:
    if line["type"] == "ERROR":
        status = line["object"]
        raise error_of(int(status.get("code") or 500), status, what)
    return WatchEvent(line["type"], _slim(line["object"]))
