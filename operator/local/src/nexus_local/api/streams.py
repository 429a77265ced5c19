"""Answers that go on: watches and pod logs."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

from aiohttp import web

from nexus_local.api import requests
from nexus_local.api.routes import Target
from nexus_local.api.selection import Selected, Selection
from nexus_local.api.statuses import RequestError, bad_request, failure
from nexus_local.node import logs
from nexus_local.node.folders import Folders
from nexus_local.store.local import LocalCluster
from nexus_operator.cluster.errors import ClusterError
from nexus_operator.cluster.protocol import WatchEvent

_LONGEST_WATCH = 3600
_FINISHED = frozenset({"Succeeded", "Failed"})


class Streams:
    """Answers watches from the store, and log requests from the node's folders."""

    def __init__(self, cluster: LocalCluster, folders: Folders) -> None:
        """Read `cluster` and `folders`."""
        self._cluster = cluster
        self._folders = folders

    async def watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Send changes as lines of JSON for a time; raises ClusterError before the first."""
        selected = Selected(Selection.of(request.query))
        bookmarks = requests.flag(request.query, "allowWatchBookmarks")
        seconds = requests.number(request.query, "timeoutSeconds") or _LONGEST_WATCH
        since = request.query.get("resourceVersion", "")
        events = self._cluster.watch(
            target.kind.api_version,
            target.kind.name,
            namespace=target.namespace or None,
            since=since if since not in {"", "0"} else None,
        )
        async with aclosing(events):
            # A version that is too old is an answer of its own, so look before promising a stream.
            begun = asyncio.ensure_future(anext(events, None))
            try:
                await asyncio.wait({begun}, timeout=0)
                if begun.done() and (error := begun.exception()):
                    raise error
                response = _stream("application/json")
                await response.prepare(request)
                try:
                    async with asyncio.timeout(seconds):
                        await _pass_on(response, begun, events, selected, bookmarks=bookmarks)
                except TimeoutError:
                    pass  # the client asks again from where it is
            finally:
                begun.cancel()
                await asyncio.gather(begun, return_exceptions=True)
        return response

    async def log(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Send what a pod's container printed, and what it goes on to print when asked to."""
        query = request.query
        requests.refuse_not_offered(query, ("timestamps", "sinceSeconds", "sinceTime"))
        lines, follow = requests.number(query, "tailLines"), requests.flag(query, "follow")
        log = await self._log_file(target, previous=requests.flag(query, "previous"))
        text, position = logs.tail(log, lines)
        response = _stream("text/plain")
        await response.prepare(request)
        await response.write(text)
        if follow:
            async for piece in logs.follow(log, position, lambda: self._current(target)):
                await response.write(piece)
        return response

    async def _log_file(self, target: Target, *, previous: bool) -> Path:
        files = self._folders.log_files(target.namespace, target.name)
        pod = await self._cluster.get(target.ref)
        if pod is None and not files:
            raise RequestError(404, "NotFound", f'pods "{target.name}" not found')
        wanted = files[:-1] if previous else files
        if not wanted:
            what = f'previous terminated container in pod "{target.name}" not found'
            waiting = f'container in pod "{target.name}" is waiting to start'
            raise bad_request(what if previous else waiting)
        return wanted[-1]

    async def _current(self, target: Target) -> Path | None:
        """Return the log of the container as it runs now, None when it will not run any more."""
        pod = await self._cluster.get(target.ref)
        if pod is None or (pod.get("status") or {}).get("phase") in _FINISHED:
            return None
        files = self._folders.log_files(target.namespace, target.name)
        return files[-1] if files else None


def _stream(content_type: str) -> web.StreamResponse:
    return web.StreamResponse(
        headers={"content-type": content_type, "cache-control": "no-cache, private"}
    )


async def _pass_on(
    response: web.StreamResponse,
    begun: asyncio.Future[WatchEvent | None],
    events: AsyncIterator[WatchEvent],
    selected: Selected,
    *,
    bookmarks: bool,
) -> None:
    try:
        event = await asyncio.shield(begun)
        while event is not None:
            if (event.type != "BOOKMARK" or bookmarks) and (wanted := selected.event(event)):
                await _send(response, wanted.type, wanted.object)
            event = await anext(events, None)
    except ClusterError as error:
        await _send(response, "ERROR", failure(error))


async def _send(response: web.StreamResponse, kind: str, content: object) -> None:
    line = json.dumps({"type": kind, "object": content}, ensure_ascii=False, separators=(",", ":"))
    await response.write(line.encode() + b"\n")
