"""Routes follow the resources, and stay when the control API is away."""

from __future__ import annotations

import pytest
from gateway_scripted import completion, model_manifest, send_json
from gateway_world import World

from nexus_gateway.settings import SettingsError, parse

NEEDED = {
    "NEXUS_BUCKET_URL": "file:///b",
    "NEXUS_LEDGER_URL": "sqlite:////l",
    "NEXUS_MILVUS_URI": "http://m",
    "NEXUS_EMBEDDER_URL": "http://e/",
}


async def test_models_come_change_and_go(world: World) -> None:
    await world.serve_model("assistant")
    route = world.services.routes.model("default", "assistant")
    assert route is not None
    assert route.target is not None
    world.control.put("servingmodels", model_manifest("assistant", ""))

    def unready() -> bool:
        now = world.services.routes.model("default", "assistant")
        return now is not None and now.target is None

    await world.until(unready)
    listed = (await world.http.get("/v1/models/assistant")).json()
    assert listed["ready"] is False
    world.control.remove("servingmodels", "default", "assistant")
    await world.until(lambda: world.services.routes.model("default", "assistant") is None)


async def test_answers_go_on_while_the_control_api_is_down(world: World) -> None:
    await world.serve_model("assistant")

    async def gone(_request: object, writer: object) -> None:
        writer.transport.abort()  # type: ignore[attr-defined]

    async def answer(_request: object, writer: object) -> None:
        await send_json(writer, completion("yes"))  # type: ignore[arg-type]

    world.runtime.replies["/v1/chat/completions"] = answer
    paths = list(world.control.server.replies)
    kept = {path: world.control.server.replies.pop(path) for path in paths}
    for path in paths:
        world.control.server.replies[path] = gone
    world.control.changed.set()
    for events in world.control.events.values():
        events.append({"type": "ERROR", "object": {"code": 500, "message": "leader lost"}})
    await world.until(lambda: not world.services.mirror.connected)
    body = {"model": "assistant", "messages": [{"role": "user", "content": "x"}]}
    assert (await world.http.post("/v1/chat/completions", json=body)).status_code == 200
    assert (await world.http.get("/readyz")).status_code == 200
    world.control.server.replies.update(kept)
    await world.until(lambda: world.services.mirror.connected)


async def test_watch_that_is_too_old_lists_again(world: World) -> None:
    expired = {"type": "ERROR", "object": {"code": 410, "message": "too old"}}
    world.control.objects["servingmodels"][("default", "late")] = model_manifest("late", "")
    world.control.events["servingmodels"].append(expired)
    world.control.changed.set()
    await world.until(lambda: world.services.routes.model("default", "late") is not None)


async def test_resource_that_cannot_be_read_leaves_the_others(world: World) -> None:
    broken = model_manifest("broken", world.runtime.url)
    broken["spec"] = {"model": 7}
    world.control.put("servingmodels", broken)
    await world.serve_model("assistant")
    assert world.services.routes.model("default", "broken") is None


async def test_metrics_speak_of_requests_by_route_and_model(world: World) -> None:
    await world.http.get("/v1/models/nobody")
    await world.http.get("/v1/indexes/a/documents/b")
    text = (await world.http.get("/metrics")).text
    line = 'route="/v1/models/{name:path}",status="404",tenant="default"} 1.0'
    assert any(line in found for found in text.splitlines())
    assert "documents/b" not in text
    assert "nexus_gateway_control_connected 1.0" in text


async def test_openapi_document_has_both_halves(world: World) -> None:
    paths = (await world.http.get("/openapi.json")).json()["paths"]
    assert {"/v1/chat/completions", "/v1/search", "/v1/indexes/{index}/documents"} <= paths.keys()


async def test_chat_page_is_self_contained_and_locked_down(world: World) -> None:
    page = await world.http.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http://" not in page.text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page.text
    assert "innerHTML" not in page.text
    assert " style=" not in page.text
    assert " on" + "click=" not in page.text


def test_settings_name_what_is_missing() -> None:
    with pytest.raises(SettingsError, match=r"NEXUS_BUCKET_URL.*NEXUS_CONTROL_URL"):
        parse([], {})
    with pytest.raises(SettingsError, match="NEXUS_PORT='x' must be a int"):
        parse([], {**NEEDED, "NEXUS_PORT": "x"})
    settings = parse(["--port", "9"], {**NEEDED, "NEXUS_CONTROL_URL": "http://c/"})
    assert (settings.port, settings.control_url) == (9, "http://c")
    assert settings.embedder_url == "http://e"


def test_settings_in_a_pod_come_from_its_service_account() -> None:
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    settings = parse([], {**NEEDED, **pod})
    assert settings.control_url == "https://10.0.0.1:443"
    assert str(settings.control_token_file).endswith("serviceaccount/token")
