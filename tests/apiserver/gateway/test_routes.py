"""The gateway learns its routes from a real API server, and lives without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from gateway_account import GROUP, put_index, put_model
from gateway_scripted import Request, completion, send_json
from gateway_world import World, gateway_world
from relay import relay

from nexus_api.meta import SYNC_REQUESTED
from nexus_gateway.control.client import ControlClient, ControlUnavailable

CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "assistant", "messages": [{"role": "user", "content": "Hello"}]}

pytestmark = pytest.mark.apiserver


async def answer(_request: Request, writer: asyncio.StreamWriter) -> None:
    await send_json(writer, completion("Hello."))


@asynccontextmanager
async def gateway(folder: Path, pod: Any, port: int) -> AsyncIterator[World]:
    """A gateway that finds the API at a port, with the pod's token and authority."""
    async with gateway_world(
        folder,
        control_url=f"https://127.0.0.1:{port}",
        control_token_file=pod.token_file,
        control_ca_file=pod.ca_file,
    ) as world:
        world.runtime.replies[CHAT] = answer
        yield world


async def test_routes_follow_the_resources(tmp_path: Path, pod: Any) -> None:
    put_model(pod.api, "early", "")
    async with gateway(tmp_path, pod, pod.port) as world:
        routes = world.services.routes
        early = routes.model("default", "early")
        assert early is not None
        assert early.target is None
        put_model(pod.api, "assistant", world.runtime.url)
        await world.until(lambda: routes.model("default", "assistant") is not None)
        await world.until(lambda: getattr(routes.model("default", "assistant"), "target", None))
        assert (await world.http.post(CHAT, json=ASK)).status_code == 200
        put_model(pod.api, "assistant", "grpc://127.0.0.1:8001", runtime={"engine": "triton"})
        await world.until(lambda: routes.models["default", "assistant"].engine == "triton")
        pod.api.client.delete(f"{GROUP}/servingmodels/assistant")
        await world.until(lambda: routes.model("default", "assistant") is None)
        assert (await world.http.post(CHAT, json=ASK)).status_code == 404


async def test_upload_asks_for_a_sync(tmp_path: Path, pod: Any) -> None:
    async with gateway(tmp_path, pod, pod.port) as world:
        put_index(pod.api, "handbook")
        await world.until(lambda: world.services.routes.index("default", "handbook") is not None)
        world.services.syncs.ask("default", "handbook")

        def asked() -> bool:
            found = pod.api.client.get(f"{GROUP}/ragindexes/handbook").json()
            return SYNC_REQUESTED in found["metadata"].get("annotations", {})

        await world.until(asked)


async def test_answers_go_on_while_the_api_is_down(tmp_path: Path, pod: Any) -> None:
    async with relay(pod.port) as way, gateway(tmp_path, pod, way.port) as world:
        services = world.services
        put_model(pod.api, "assistant", world.runtime.url)
        await world.until(
            lambda: getattr(services.routes.model("default", "assistant"), "target", None)
        )
        await way.stop()
        await world.until(lambda: not services.mirror.connected)
        put_model(pod.api, "later", world.runtime.url)
        assert (await world.http.post(CHAT, json=ASK)).status_code == 200
        ready = await world.http.get("/readyz")
        assert (ready.status_code, ready.json()["control_connected"]) == (200, False)
        assert services.routes.model("default", "later") is None
        await way.start()
        await world.until(lambda: services.routes.model("default", "later") is not None)
        # What watches the other kind may have failed once more in between.
        await world.until(lambda: services.mirror.connected)


async def test_token_and_authority_are_read_again(tmp_path: Path, pod: Any) -> None:
    good_token, good_authority = pod.token_file.read_text(), pod.ca_file.read_bytes()
    token_file, ca_file = tmp_path / "late-token", tmp_path / "late-ca.crt"
    client = ControlClient(f"https://127.0.0.1:{pod.port}", token_file=token_file, ca_file=ca_file)

    def mount(path: Path, data: bytes) -> None:
        path.with_suffix(".new").write_bytes(data)
        path.with_suffix(".new").rename(path)

    async def refused() -> str:
        with pytest.raises(ControlUnavailable) as caught:
            await client.list("servingmodels")
        return str(caught.value)

    try:
        assert "late-ca.crt" in await refused()
        mount(ca_file, b"")
        assert "ssl" in (await refused()).lower()
        mount(ca_file, good_authority)
        assert "late-token" in await refused()
        mount(token_file, b"expired")
        assert "HTTP 401" in await refused()
        mount(token_file, good_token.encode())
        models, _ = await client.list("servingmodels")
        assert models == []
    finally:
        client.close()
