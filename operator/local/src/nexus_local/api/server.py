"""The HTTP server of the Kubernetes API: loopback only, one bearer token, known by a file."""

import asyncio
import hmac
import json
import logging
import os
import secrets
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import hdrs, web

from nexus_api.meta import Manifest
from nexus_local.api import discovery, requests, routes
from nexus_local.api.objects import Objects
from nexus_local.api.statuses import RequestError, failure
from nexus_local.api.streams import Streams
from nexus_local.node.folders import Folders
from nexus_local.node.ports import HOST, is_free
from nexus_local.store.local import LocalCluster
from nexus_operator.cluster.errors import ClusterError

_LARGEST_BODY = 3 * 1024 * 1024  # as the API server
_CLOSING_SECONDS = 1.0
_log = logging.getLogger(__name__)
_OPEN = frozenset({"/healthz", "/livez", "/readyz", "/version"})


class ControlServer:
    """Serves the objects of `cluster` and the logs below `folders` while it is entered.

    Address and token are those of the last time where possible, so that what was told of them
    stays true across a restart.

    url: `http://127.0.0.1:PORT`, set once it serves.  token: what requests carry as bearer.
    """

    def __init__(self, cluster: LocalCluster, *, folders: Folders, control_file: Path) -> None:
        """Prepare to serve; `control_file` gets `{url, token, pid}`, for its owner's eyes alone."""
        self.url = ""
        self._cluster = cluster
        self._control_file = control_file
        self._kept_file = control_file.with_suffix(".key")
        self._kept = _read(self._kept_file)
        self.token = str(self._kept.get("token") or secrets.token_urlsafe(32))
        self._objects = Objects(cluster)
        self._streams = Streams(cluster, folders)
        self._streaming: set[asyncio.Task[Any]] = set()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Begin to serve, and write the control file."""
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=_CLOSING_SECONDS
        )
        await runner.setup()
        self._runner = runner
        port = int(self._kept.get("port") or 0)
        site = web.TCPSite(runner, HOST, port if port and is_free(port) else 0)
        await site.start()
        port = runner.addresses[0][1]
        self.url = f"http://{HOST}:{port}"
        write_private(self._kept_file, {"port": port, "token": self.token})
        control = {"url": self.url, "token": self.token, "pid": os.getpid()}
        write_private(self._control_file, control)

    async def close(self) -> None:
        """End all requests and remove the control file."""
        self._control_file.unlink(missing_ok=True)
        for task in list(self._streaming):
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request; whatever goes wrong becomes a Status."""
        details = None
        try:
            self._authenticate(request)
            if request.method == hdrs.METH_GET and (found := _about(request.path)) is not None:
                return found
            target = routes.target(request.path)
            details = target.details
            return await self._dispatch(request, target)
        except (ClusterError, RequestError) as error:
            status = failure(error, details)
        except web.HTTPRequestEntityTooLarge:
            message = f"the body is larger than {_LARGEST_BODY} bytes"
            status = failure(RequestError(413, "RequestEntityTooLarge", message))
        except (TypeError, ValueError, LookupError, AttributeError):
            _log.exception("%s %s", request.method, request.path)
            message = "the platform failed on this request; its own log says where"
            status = failure(RequestError(500, "InternalError", message), details)
        return web.json_response(status, status=status["code"])

    async def _dispatch(self, request: web.Request, target: routes.Target) -> web.StreamResponse:
        if request.method == hdrs.METH_GET and target.subresource == "log":
            return await self._streamed(self._streams.log(request, target))
        if request.method == hdrs.METH_GET and requests.flag(request.query, "watch"):
            return await self._streamed(self._streams.watch(request, target))
        return await self._objects.answer(request, target)

    def _authenticate(self, request: web.Request) -> None:
        if request.path in _OPEN:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(), self.token.encode())
        if scheme.lower() != "bearer" or not right:
            raise RequestError(
                401,
                "Unauthorized",
                f"a bearer token is needed; it stands in {self._control_file.name} in the data "
                "directory",
            )

    async def _streamed(
        self, answer: Coroutine[Any, Any, web.StreamResponse]
    ) -> web.StreamResponse:
        """Note an answer that would go on for ever, so that closing can end it."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("requests are answered in tasks")
        self._streaming.add(task)
        try:
            return await answer
        finally:
            self._streaming.discard(task)


def _about(path: str) -> web.Response | None:
    if path in _OPEN - {"/version"}:
        return web.Response(text="ok")
    found = discovery.VERSION if path == "/version" else discovery.answer(path)
    return None if found is None else web.json_response(found)


def write_private(path: Path, content: Manifest) -> None:
    """Put a small JSON file in place at once, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file)
    fresh.replace(path)


def _read(path: Path) -> Manifest:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
