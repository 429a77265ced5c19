"""The Kubernetes-shaped API: URLs, bodies, errors, watches, logs."""

import asyncio
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from .conftest import Api, serving

OURS = "/apis/llmops.nexus/v1alpha1/namespaces/default/ragindexes"
MAPS = "/api/v1/namespaces/default/configmaps"
APPLY = {"content-type": "application/apply-patch+yaml"}
MERGE = {"content-type": "application/merge-patch+json"}


def config_map(name: str = "a", **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}


async def call(api: Api, method: str, path: str, code: int = 200, **request: Any) -> dict[str, Any]:
    async with api.http.request(method, path, **request) as response:
        answer = dict(await response.json())
    assert response.status == code, answer
    return answer


async def test_life_of_an_object(api: Api) -> None:
    made = await call(api, "POST", MAPS, 201, json=config_map() | {"data": {"x": "1"}})
    assert await call(api, "GET", f"{MAPS}/a") == made
    listed = await call(api, "GET", MAPS)
    assert listed["kind"] == "ConfigMapList"
    assert listed["items"] == [made]
    assert listed["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    everywhere = await call(api, "GET", "/api/v1/configmaps")
    assert everywhere["items"] == [made]
    put = await call(api, "PUT", f"{MAPS}/a", json=made | {"data": {"y": "1"}})
    assert put["data"] == {"y": "1"}
    merged = await call(
        api, "PATCH", f"{MAPS}/a", data=json.dumps({"data": {"z": "1"}}), headers=MERGE
    )
    assert merged["data"] == {"y": "1", "z": "1"}
    gone = await call(api, "DELETE", f"{MAPS}/a")
    assert gone["status"] == "Success"
    assert gone["details"]["uid"] == made["metadata"]["uid"]
    missing = await call(api, "GET", f"{MAPS}/a", 404)
    assert missing["reason"] == "NotFound"
    assert missing["details"] == {"name": "a", "kind": "configmaps"}


async def test_apply_takes_yaml_and_wants_a_manager(api: Api) -> None:
    text = "apiVersion: llmops.nexus/v1alpha1\nkind: RagIndex\nmetadata: {name: a}\nspec: {}\n"
    query = {"fieldManager": "me", "force": "true"}
    made = await call(api, "PATCH", f"{OURS}/a", 201, params=query, data=text, headers=APPLY)
    assert made["spec"]["chunking"]["maxTokens"] == 256
    await call(api, "PATCH", f"{OURS}/a", 200, params=query, data=text, headers=APPLY)
    refused = await call(api, "PATCH", f"{OURS}/a", 400, data=text, headers=APPLY)
    assert "fieldManager" in refused["message"]


async def test_apply_without_force_conflicts_with_another_manager(api: Api) -> None:
    one = json.dumps(config_map() | {"data": {"x": "1"}})
    two = json.dumps(config_map() | {"data": {"x": "2"}})
    first, second = {"fieldManager": "one"}, {"fieldManager": "two"}
    await call(api, "PATCH", f"{MAPS}/a", 201, params=first, data=one, headers=APPLY)
    refused = await call(api, "PATCH", f"{MAPS}/a", 409, params=second, data=two, headers=APPLY)
    assert "data.x" in refused["message"]
    forced = second | {"force": "true"}
    await call(api, "PATCH", f"{MAPS}/a", 200, params=forced, data=two, headers=APPLY)


async def test_status_subresource(api: Api) -> None:
    kind = {"apiVersion": "llmops.nexus/v1alpha1", "kind": "RagIndex"}
    await call(api, "POST", OURS, 201, json=kind | {"metadata": {"name": "a"}, "spec": {}})
    patch = json.dumps({"status": {"chunks": 3}, "spec": {"retrieval": {"topK": 9}}})
    after = await call(api, "PATCH", f"{OURS}/a/status", data=patch, headers=MERGE)
    assert after["status"]["chunks"] == 3
    assert after["spec"]["retrieval"]["topK"] == 5
    assert (await call(api, "GET", f"{OURS}/a/status"))["status"]["chunks"] == 3


async def test_bad_spec_is_a_422_that_names_the_field(api: Api) -> None:
    kind = {"apiVersion": "llmops.nexus/v1alpha1", "kind": "RagIndex", "metadata": {"name": "a"}}
    refused = await call(api, "POST", OURS, 422, json=kind | {"spec": {"retrieval": {"topK": 0}}})
    assert refused["reason"] == "Invalid"
    assert "spec.retrieval.topK" in refused["message"]
    assert refused["kind"] == "Status"


@pytest.mark.parametrize(
    ("method", "path", "request_", "code", "says"),
    [
        ("GET", "/apis/llmops.nexus/v1alpha1/gadgets", {}, 404, "could not find"),
        ("GET", "/apis/llmops.nexus/v1/ragindexes", {}, 404, "could not find"),
        ("GET", "/favicon.ico", {}, 404, "could not find"),
        ("GET", "/api/v1/configmaps/a", {}, 404, "could not find"),
        ("GET", f"{MAPS}/a/status", {}, 404, "no status"),
        ("GET", f"{MAPS}/a/b/c", {}, 404, "could not find"),
        ("POST", f"{MAPS}/a", {"json": {}}, 405, "POST"),
        ("DELETE", MAPS, {}, 405, "DELETE"),
        ("POST", MAPS, {"data": b"{"}, 415, "application/octet-stream"),
        (
            "POST",
            MAPS,
            {"data": b"{", "headers": {"content-type": "application/json"}},
            400,
            "read",
        ),
        ("POST", MAPS, {"json": []}, 400, "must be a map"),
        ("POST", MAPS, {"json": {"kind": "Secret"}}, 400, "Secret"),
        ("POST", MAPS, {"json": {"metadata": {"namespace": "other"}}}, 400, "other"),
        ("POST", MAPS, {"json": {"metadata": []}}, 400, "metadata"),
        ("POST", f"{MAPS}?dryRun=All", {"json": {}}, 400, "dryRun"),
        ("GET", f"{MAPS}?labelSelector=a%20b", {}, 400, "a b"),
        ("GET", f"{MAPS}?fieldSelector=a", {}, 400, "fieldSelector|field selector"),
        ("GET", f"{MAPS}?watch=perhaps", {}, 400, "perhaps"),
        ("GET", f"{MAPS}?watch=1&resourceVersion=x", {}, 422, "must be a number"),
        ("GET", f"{MAPS}?watch=1&resourceVersion={'9' * 5000}", {}, 422, "must be a number"),
        ("GET", f"{MAPS}?watch=1&timeoutSeconds={'9' * 5000}", {}, 400, "no whole number"),
        ("DELETE", f"{MAPS}/a?propagationPolicy=Orphan", {}, 400, "Background"),
        (
            "PATCH",
            f"{MAPS}/a",
            {"data": b"[]", "headers": {"content-type": "application/json-patch+json"}},
            415,
            "merge-patch",
        ),
        (
            "PATCH",
            f"{MAPS}/a?fieldManager=x",
            {"data": b"a: [", "headers": APPLY},
            400,
            "cannot be read",
        ),
    ],
)
async def test_bad_request_is_a_status(
    api: Api, method: str, path: str, request_: dict[str, Any], code: int, says: str
) -> None:
    answer = await call(api, method, path, code, **request_)
    assert answer["kind"] == "Status"
    assert answer["code"] == code
    assert any(part in answer["message"] for part in says.split("|")), answer


async def test_body_beyond_the_limit_is_refused(api: Api) -> None:
    big = io.BytesIO(json.dumps(config_map() | {"data": {"x": "y" * (3 << 20)}}).encode())
    headers = {"content-type": "application/json"}
    refused = await call(api, "POST", MAPS, 413, data=big, headers=headers)
    assert refused["reason"] == "RequestEntityTooLarge"


async def test_delete_keeps_to_its_precondition_and_to_finalizers(api: Api) -> None:
    await call(api, "POST", MAPS, 201, json=config_map(finalizers=["example.com/hold"]))
    options = {"preconditions": {"uid": "another"}}
    assert (await call(api, "DELETE", f"{MAPS}/a", 409, json=options))["reason"] == "Conflict"
    held = await call(api, "DELETE", f"{MAPS}/a")
    assert held["metadata"]["deletionTimestamp"]


async def test_delete_heeds_the_version_it_is_given(api: Api) -> None:
    made = await call(api, "POST", MAPS, 201, json=config_map())
    version = made["metadata"]["resourceVersion"]
    await call(api, "PUT", f"{MAPS}/a", json=made | {"data": {"x": "1"}})
    options = {"preconditions": {"resourceVersion": version}}
    assert (await call(api, "DELETE", f"{MAPS}/a", 409, json=options))["reason"] == "Conflict"
    now = (await call(api, "GET", f"{MAPS}/a"))["metadata"]["resourceVersion"]
    await call(api, "DELETE", f"{MAPS}/a", json={"preconditions": {"resourceVersion": now}})


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]},
        {"orphanDependents": True},
        {"preconditions": "none"},
        {"preconditions": {"name": "b"}},
    ],
)
async def test_a_deletion_with_options_that_are_not_offered_deletes_nothing(
    api: Api, options: dict[str, Any]
) -> None:
    await call(api, "POST", MAPS, 201, json=config_map())
    await call(api, "DELETE", f"{MAPS}/a", 400, json=options)
    await call(api, "GET", f"{MAPS}/a")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"metadata": {"name": "a"}, "count": NaN}', "json"),
        ('{"metadata": {"name": "a"}, "count": -Infinity}', "json"),
        ('{"metadata": {"name": "a"}, "count": 1e999}', "json"),
        ('{"metadata": {"name": "a"}, "message": "\\ud800"}', "json"),
        ("metadata: {name: a}\ncount: .inf", "yaml"),
        ("metadata: {name: a}\ncount: .nan", "yaml"),
    ],
)
async def test_what_no_client_could_read_is_not_stored(api: Api, text: str, kind: str) -> None:
    events, headers = "/api/v1/namespaces/default/events", {"content-type": f"application/{kind}"}
    refused = await call(api, "POST", events, 400, data=text.encode(), headers=headers)
    assert "cannot be read" in refused["message"]


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        ("v1/pods", {"spec": "x"}, "spec"),
        ("v1/pods", {"spec": {"containers": ["x"]}}, "spec.containers[0]"),
        ("v1/services", {"spec": {"ports": ["x"]}}, "spec.ports[0].port"),
        ("v1/services", {"spec": {"ports": [{"port": 80}], "selector": ["x"]}}, "spec.selector"),
        ("v1/configmaps", {"data": ["x"]}, "data"),
        ("v1/secrets", {"data": ["x"]}, "data"),
        ("v1/secrets", {"stringData": "x"}, "stringData"),
        ("apps/v1/deployments", {"spec": {"selector": "x"}}, "spec.selector"),
        (
            "apps/v1/deployments",
            {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": "x"}},
            "spec.template",
        ),
        ("argoproj.io/v1alpha1/workflows", {}, "spec"),
        ("argoproj.io/v1alpha1/workflows", {"spec": {}, "status": "x"}, "status"),
        ("argoproj.io/v1alpha1/workflowtemplates", {"spec": None}, "spec"),
    ],
)
async def test_a_body_of_the_wrong_shape_is_a_422_that_names_the_field(
    api: Api, kind: str, body: dict[str, Any], field: str
) -> None:
    version, _, plural = kind.rpartition("/")
    root = "apis" if "/" in version else "api"
    path = f"/{root}/{version}/namespaces/default/{plural}"
    refused = await call(api, "POST", path, 422, json=body | {"metadata": {"name": "a"}})
    assert f"is invalid: {field}" in refused["message"]


@pytest.mark.parametrize(
    "owners", ["x", ["x"], {"x": 1}, [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": {}}]]
)
async def test_owners_of_the_wrong_shape_are_a_422(api: Api, owners: object) -> None:
    refused = await call(api, "POST", MAPS, 422, json=config_map(ownerReferences=owners))
    assert "metadata.ownerReferences" in refused["message"]


async def test_selectors(api: Api) -> None:
    for name, team in (("a", "red"), ("b", "blue")):
        await call(api, "POST", MAPS, 201, json=config_map(name, labels={"team": team}))

    async def names(**query: str) -> list[str]:
        listed = await call(api, "GET", MAPS, params=query)
        return [item["metadata"]["name"] for item in listed["items"]]

    assert await names(labelSelector="team in (red,green)") == ["a"]
    assert await names(labelSelector="team!=red") == ["b"]
    assert await names(fieldSelector="metadata.name=b") == ["b"]
    assert await names(fieldSelector="metadata.name!=b,metadata.namespace=default") == ["a"]


async def read_events(response: aiohttp.ClientResponse, count: int) -> list[tuple[str, str]]:
    events = []
    async with asyncio.timeout(30):
        while len(events) < count:
            event = json.loads(await response.content.readline())
            events.append((event["type"], event["object"]["metadata"].get("name", "")))
    return events


async def test_watch_by_label_tells_who_comes_and_who_leaves(api: Api) -> None:
    await api.cluster.create(config_map("red", labels={"team": "red"}))
    await api.cluster.create(config_map("blue", labels={"team": "blue"}))
    query = {"watch": "1", "labelSelector": "team=red", "allowWatchBookmarks": "true"}
    async with api.http.get(MAPS, params=query) as response:
        assert await read_events(response, 2) == [("ADDED", "red"), ("BOOKMARK", "")]
        patch = {"metadata": {"labels": {"team": "red"}}}
        for name in ("blue", "red"):
            headers = MERGE
            await call(api, "PATCH", f"{MAPS}/{name}", data=json.dumps(patch), headers=headers)
            patch["metadata"]["labels"]["team"] = "green"
        await call(api, "DELETE", f"{MAPS}/red")
        await call(api, "DELETE", f"{MAPS}/blue")
        expected = [("ADDED", "blue"), ("DELETED", "red"), ("DELETED", "blue")]
        assert await read_events(response, 3) == expected


async def test_watch_from_a_version_that_is_gone(api: Api) -> None:
    await api.cluster.create(config_map())
    query = {"watch": "true", "resourceVersion": "0"}
    async with api.http.get(MAPS, params=query) as response:  # any version will do
        assert await read_events(response, 1) == [("ADDED", "a")]
    gone = await call(api, "GET", f"{MAPS}?watch=1&resourceVersion=99999", 410)
    assert gone["reason"] == "Expired"


async def test_watch_ends_at_its_time(api: Api) -> None:
    query = {"watch": "1", "timeoutSeconds": "1"}
    async with api.http.get(MAPS, params=query) as response:
        assert await asyncio.wait_for(response.read(), 30) == b""


async def test_left_watches_are_forgotten(api: Api) -> None:
    for _ in range(3):
        async with api.http.get(MAPS, params={"watch": "1"}):
            assert len(api.server._streaming) >= 1
    async with asyncio.timeout(30):
        while api.server._streaming:  # noqa: ASYNC110 - the server learns of it by itself
            await asyncio.sleep(0.01)


async def test_closing_ends_open_watches_soon(tmp_path: Path) -> None:
    async with serving(tmp_path) as api, api.http.get(MAPS, params={"watch": "1"}) as response:
        async with asyncio.timeout(10):
            await api.server.close()
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_token_is_needed_and_kept_for_the_owner(api: Api, tmp_path: Path) -> None:
    control = tmp_path / "control.json"
    assert stat.S_IMODE(control.stat().st_mode) == 0o600
    written = json.loads(control.read_text())
    assert written == {"url": api.server.url, "token": api.server.token, "pid": os.getpid()}
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": api.server.token}):
        async with aiohttp.ClientSession(api.server.url, headers=headers) as stranger:
            async with stranger.get(MAPS) as response:
                assert response.status == 401
                assert (await response.json())["reason"] == "Unauthorized"
            async with stranger.get("/healthz") as response:
                assert await response.text() == "ok"


async def test_address_and_token_stay_across_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path) as first:
        known = (first.server.url, first.server.token)
    assert not (tmp_path / "control.json").exists()
    async with serving(tmp_path) as second:
        assert (second.server.url, second.server.token) == known


async def test_another_address_when_the_port_is_taken(tmp_path: Path) -> None:
    async with serving(tmp_path) as first:
        url = first.server.url
    (tmp_path / "other").mkdir()
    port = int(url.rpartition(":")[2])
    blocker = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    async with blocker, serving(tmp_path) as second:
        assert second.server.url != url


async def test_discovery(api: Api) -> None:
    groups = await call(api, "GET", "/apis")
    assert {group["name"] for group in groups["groups"]} >= {"llmops.nexus", "apps", "argoproj.io"}
    resources = await call(api, "GET", "/apis/llmops.nexus/v1alpha1")
    names = {resource["name"] for resource in resources["resources"]}
    assert {"ragindexes", "ragindexes/status"} <= names
    assert (await call(api, "GET", "/api"))["versions"] == ["v1"]
    assert "gitVersion" in await call(api, "GET", "/version")


LOG = "/api/v1/namespaces/default/pods/a/log"


async def log_text(api: Api, code: int = 200, **query: str) -> str:
    async with api.http.get(LOG, params=query) as response:
        text = await response.text()
    assert response.status == code, text
    return text


async def test_log_now_before_and_its_end(api: Api) -> None:
    assert "not found" in await log_text(api, 404)
    api.folders.new_log("default", "a").write_text("one\ntwo\nthree\n")
    assert await log_text(api) == "one\ntwo\nthree\n"
    assert await log_text(api, tailLines="2") == "two\nthree\n"
    assert await log_text(api, tailLines="0") == ""
    assert "previous" in await log_text(api, 400, previous="true")
    api.folders.new_log("default", "a").write_text("four\n")
    assert await log_text(api) == "four\n"
    assert await log_text(api, previous="true") == "one\ntwo\nthree\n"
    assert "timestamps" in await log_text(api, 400, timestamps="true")


async def test_log_is_followed_through_a_restart_to_its_end(api: Api) -> None:
    container = {"name": "main", "image": "web"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
    made = await api.cluster.create(pod | {"spec": {"containers": [container]}})
    assert made
    first = api.folders.new_log("default", "a")
    first.write_text("one\n")
    async with api.http.get(LOG, params={"follow": "true"}) as response:
        assert await response.content.readline() == b"one\n"
        with first.open("a") as log:
            log.write("two\n")
        assert await response.content.readline() == b"two\n"
        second = api.folders.new_log("default", "a")
        second.write_text("three\n")
        assert await response.content.readline() == b"three\n"
        status = json.dumps({"status": {"phase": "Succeeded"}})
        where = "/api/v1/namespaces/default/pods/a/status"
        await call(api, "PATCH", where, data=status, headers=MERGE)
        assert await asyncio.wait_for(response.content.read(), 30) == b""
