"""The verbs on objects: get, list, create, replace, patch, delete."""

import json

from aiohttp import web

from nexus_api.meta import Manifest
from nexus_local.api import requests
from nexus_local.api.routes import Target
from nexus_local.api.selection import Selection
from nexus_local.api.statuses import RequestError, bad_request, success
from nexus_local.store.local import LocalCluster
from nexus_operator.cluster.errors import NotFound


class Objects:
    """Answers requests on objects from the store."""

    def __init__(self, cluster: LocalCluster) -> None:
        """Read and write `cluster`."""
        self._cluster = cluster

    async def answer(self, request: web.Request, target: Target) -> web.Response:
        """Do what the request asks; raises RequestError or ClusterError."""
        requests.refuse_not_offered(request.query, ("dryRun",))
        method = request.method
        if method == "GET":
            return _json(await (self._get(target) if target.name else self._list(request, target)))
        if method == "POST" and not target.name:
            manifest = requests.addressed(target, await _body(request))
            return _json(await self._cluster.create(manifest), 201)
        if method == "PUT" and target.name:
            manifest = requests.addressed(target, await _body(request))
            return _json(
                await self._cluster.replace(target.ref, manifest, subresource=target.subresource)
            )
        if method == "PATCH" and target.name:
            return await self._patch(request, target)
        if method == "DELETE" and target.name and not target.subresource:
            return await self._delete(request, target)
        raise RequestError(405, "MethodNotAllowed", f"{method} is not offered on {request.path}")

    async def _get(self, target: Target) -> Manifest:
        found = await self._cluster.get(target.ref)
        if found is None:
            raise NotFound(f'{_resource(target)} "{target.name}" not found')
        return found

    async def _list(self, request: web.Request, target: Target) -> Manifest:
        selection = Selection.of(request.query)
        version, found = await self._cluster.list_at(
            target.kind.api_version,
            target.kind.name,
            namespace=target.namespace or None,
            selector=selection.labels,
        )
        return {
            "kind": f"{target.kind.name}List",
            "apiVersion": target.kind.api_version,
            "metadata": {"resourceVersion": version},
            "items": [item for item in found if selection.matches(item)],
        }

    async def _patch(self, request: web.Request, target: Target) -> web.Response:
        body = await _body(request)
        if request.content_type == requests.MERGE_PATCH:
            patched = await self._cluster.patch(target.ref, body, subresource=target.subresource)
            return _json(patched)
        if request.content_type != requests.APPLY_PATCH:
            raise RequestError(
                415,
                "UnsupportedMediaType",
                f"a patch is {requests.MERGE_PATCH} or {requests.APPLY_PATCH}",
            )
        manager = request.query.get("fieldManager")
        if not manager:
            raise bad_request("fieldManager is required for apply")
        if target.subresource:
            raise bad_request("apply is offered on objects, not on their status")
        force = requests.flag(request.query, "force")
        before = await self._cluster.get(target.ref)
        manifest = requests.addressed(target, body)
        applied = await self._cluster.apply(manifest, manager=manager, force=force)
        return _json(applied, 201 if before is None else 200)

    async def _delete(self, request: web.Request, target: Target) -> web.Response:
        options = await _body(request) if request.can_read_body else {}
        only = requests.deletion(options, request.query)
        before = await self._get(target)
        await self._cluster.delete(
            target.ref, uid=only.get("uid"), version=only.get("resourceVersion")
        )
        after = await self._cluster.get(target.ref)
        if after is not None and after["metadata"]["uid"] == before["metadata"]["uid"]:
            return _json(after)  # finalizers hold it
        return _json(success({**target.details, "uid": before["metadata"]["uid"]}))


def _resource(target: Target) -> str:
    group = target.kind.group
    return f"{target.kind.plural}.{group}" if group else target.kind.plural


async def _body(request: web.Request) -> Manifest:
    return requests.body(request.content_type, await request.read())


def _json(manifest: Manifest, code: int = 200) -> web.Response:
    text = json.dumps(manifest, ensure_ascii=False, separators=(",", ":"))
    return web.Response(text=text, status=code, content_type="application/json")
