"""Requests before a server that misbehaves: retries, errors, lines of any length."""

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from nexus_operator.cluster import kubernetes, transport
from nexus_operator.cluster.connection import Connection, ConnectionInvalid, from_kubeconfig
from nexus_operator.cluster.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    KindMissing,
    NotFound,
    Unavailable,
)
from nexus_operator.cluster.kubernetes import KubernetesCluster
from nexus_operator.cluster.protocol import Ref

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
A = Ref("v1", "ConfigMap", "default", "a")
RESOURCES = {
    "resources": [
        {"name": plural, "kind": kind, "namespaced": True}
        for plural, kind in (("configmaps", "ConfigMap"), ("pods", "Pod"))
    ]
}


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[KubernetesCluster]:
    """A client before a server that knows ConfigMaps and leaves the rest to `handler`."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/api/v1":
            return web.json_response(RESOURCES)
        if request.path.startswith("/apis/"):
            return web.Response(status=404, text="404 page not found\n")
        return await handler(request)

    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with KubernetesCluster(Connection(server=f"http://{host}:{port}")) as cluster:
            yield cluster
    finally:
        await runner.cleanup()


def failing(
    code: int, reason: str, *, times: int = 1000, **headers: str
) -> tuple[Handler, list[str]]:
    """Fail so many times with a Status, then answer; also returns the methods seen."""
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.method)
        if len(seen) <= times:
            status = {"kind": "Status", "reason": reason, "message": "because", "code": code}
            return web.json_response(status, status=code, headers=headers)
        return web.json_response({"metadata": {"name": "a", "managedFields": [{}]}})

    return handler, seen


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(transport, "LONGEST_WAIT_SECONDS", 0.002)


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (400, "BadRequest", Invalid),
        (422, "Invalid", Invalid),
        (403, "Forbidden", Forbidden),
        (410, "Expired", Gone),
        (405, "MethodNotAllowed", ClusterError),
        (500, "InternalError", Unavailable),
        (504, "Timeout", Unavailable),
    ],
)
async def test_each_reason_has_its_error(code: int, reason: str, error: type[Exception]) -> None:
    handler, _ = failing(code, reason)
    async with served(handler) as cluster:
        with pytest.raises(error, match="patch ConfigMap default/a: because"):
            await cluster.patch(A, {})


@pytest.mark.parametrize(("code", "reason"), [(429, "TooManyRequests"), (503, "Unavailable")])
async def test_a_read_is_tried_again(code: int, reason: str) -> None:
    handler, seen = failing(code, reason, times=2, **{"Retry-After": "1"})
    async with served(handler) as cluster:
        found = await cluster.get(A)
    assert found == {"metadata": {"name": "a"}}
    assert seen == ["GET"] * 3


async def test_a_read_is_given_up_in_the_end() -> None:
    handler, seen = failing(503, "ServiceUnavailable")
    async with served(handler) as cluster:
        with pytest.raises(Unavailable):
            await cluster.get(A)
    assert len(seen) == transport.ATTEMPTS


async def test_a_write_is_sent_again_only_when_the_server_did_not_look_at_it() -> None:
    handler, seen = failing(500, "InternalError", times=1)
    async with served(handler) as cluster:
        with pytest.raises(Unavailable):
            await cluster.patch(A, {})
    assert seen == ["PATCH"]
    handler, seen = failing(429, "TooManyRequests", times=1)
    async with served(handler) as cluster:
        await cluster.patch(A, {})
    assert seen == ["PATCH", "PATCH"]


async def test_a_kind_without_a_path_is_missing() -> None:
    handler, _ = failing(404, "NotFound")
    async with served(handler) as cluster:
        with pytest.raises(KindMissing, match=r"no kind Sensor in argoproj\.io/v1alpha1"):
            await cluster.get(Ref("argoproj.io/v1alpha1", "Sensor", "default", "a"))


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with KubernetesCluster(Connection(server="http://127.0.0.1:1")) as cluster:
        with pytest.raises(Unavailable, match="discovery of v1"):
            await cluster.get(A)


def watching(*events: dict[str, Any]) -> Handler:
    """Send events in pieces that end nowhere near a line's end."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        data = b"".join(json.dumps(event).encode() + b"\n" for event in events)
        for start in range(0, len(data), 70_001):
            await response.write(data[start : start + 70_001])
        await response.write_eof()
        return response

    return handler


def config_map(name: str, version: str, **data: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "resourceVersion": version, "managedFields": []},
        "data": data,
    }


async def test_a_line_of_a_watch_may_be_long() -> None:
    large = config_map("large", "5", text="x" * 1_000_000)
    events = [{"type": "ADDED", "object": large}, {"type": "ADDED", "object": config_map("b", "6")}]
    async with served(watching(*events)) as cluster:
        watch = cluster.watch("v1", "ConfigMap", since="1")
        first, second = await anext(watch), await anext(watch)
        await watch.aclose()
    assert len(first.object["data"]["text"]) == 1_000_000
    assert "managedFields" not in first.object["metadata"]
    assert second.object["metadata"]["name"] == "b"


async def test_a_watch_whose_version_is_gone_says_so_and_has_closed_its_connection() -> None:
    """What is left to the collector is closed some time later, or by no loop any more."""
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    left: list[str] = []
    before = sys.get_asyncgen_hooks()
    async with served(watching({"type": "ERROR", "object": status})) as cluster:
        sys.set_asyncgen_hooks(finalizer=lambda one: left.append(one.__qualname__))
        try:
            with pytest.raises(Gone, match="too old"):
                await anext(cluster.watch("v1", "ConfigMap", since="1"))
        finally:
            sys.set_asyncgen_hooks(*before)
    assert left == []


def kubeconfig(folder: Path, user: dict[str, Any]) -> Path:
    path = folder / "config"
    cluster = {
        "server": "https://example.com/",
        "certificate-authority-data": base64.b64encode(b"PEM").decode(),
    }
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_kubeconfig_names_server_and_identity(tmp_path: Path) -> None:
    found = from_kubeconfig(kubeconfig(tmp_path, {"token": "secret"}))
    assert (found.server, found.ca) == ("https://example.com", "PEM")
    assert found.authorization() == {"authorization": "Bearer secret"}
    assert "secret" not in repr(found)


def test_a_renewed_token_is_read_anew(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one\n")
    found = from_kubeconfig(kubeconfig(tmp_path, {"tokenFile": "token"}))
    assert found.bearer() == "one"
    (tmp_path / "token").write_text("two\n")
    assert found.bearer() == "two"


@pytest.mark.parametrize(
    ("user", "context", "told"),
    [
        ({"exec": {"command": "aws"}}, "", "logs in by exec"),
        ({}, "other", "no context named 'other'"),
        ({"client-certificate": "missing.pem"}, "", "client-certificate that cannot be read"),
    ],
)
def test_what_cannot_be_used_is_told(
    tmp_path: Path, user: dict[str, Any], context: str, told: str
) -> None:
    with pytest.raises(ConnectionInvalid, match=told):
        from_kubeconfig(kubeconfig(tmp_path, user), context)


async def test_requests_wait_for_each_other_beyond_a_number_and_never_for_watches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "REQUESTS_AT_A_TIME", 2)
    present, most, watching = 0, 0, 0
    watched, released = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal present, most, watching
        if request.query.get("watch"):
            response = web.StreamResponse()
            await response.prepare(request)
            watching += 1
            if watching == 3:
                watched.set()
            await released.wait()
            return response
        if not request.path.endswith("/a"):
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})
        present += 1
        most = max(most, present)
        await asyncio.sleep(0)
        present -= 1
        return web.json_response({"metadata": {"name": "a"}})

    async def watch(cluster: KubernetesCluster) -> None:
        async for _ in cluster.watch("v1", "ConfigMap", since="1"):
            pass

    async with served(answer) as cluster, asyncio.timeout(20):
        watches = [asyncio.create_task(watch(cluster)) for _ in range(3)]
        await watched.wait()
        await asyncio.gather(*(cluster.get(A) for _ in range(20)))
        released.set()
        for one in watches:
            one.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
    assert 1 <= most <= 2


POD = Ref("v1", "Pod", "default", "a")


async def test_the_end_of_a_log_is_read_once_and_bounded() -> None:
    asked: list[tuple[str, dict[str, str]]] = []

    async def printed(request: web.Request) -> web.StreamResponse:
        asked.append((request.path, dict(request.query)))
        return web.Response(body=b"step 1\nstep \xff2\n")

    async with served(printed) as cluster:
        assert await cluster.log(POD, container="main", lines=9) == "step 1\nstep \ufffd2\n"
    query = {"container": "main", "tailLines": "9", "limitBytes": "65536"}
    assert asked == [("/api/v1/namespaces/default/pods/a/log", query)]


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [(400, "BadRequest", Invalid), (403, "Forbidden", Forbidden), (500, "", Unavailable)],
)
async def test_a_log_that_cannot_be_read_says_why(
    code: int, reason: str, error: type[ClusterError]
) -> None:
    handler, seen = failing(code, reason)
    async with served(handler) as cluster:
        with pytest.raises(error):
            await cluster.log(POD, container="main", lines=9)
    assert seen == ["GET"]


async def test_a_log_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes, "LOG_SECONDS", 0.05)
    ends = asyncio.Event()

    async def silent(_request: web.Request) -> web.StreamResponse:
        await ends.wait()
        return web.Response()

    async with served(silent) as cluster:
        with pytest.raises(Unavailable, match=r"read the log of Pod default/a: no answer"):
            await cluster.log(POD, container="main", lines=9)
        ends.set()
