"""API keys: tenants, roles, rates, and what happens when their file changes."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from gateway_world import gateway_world

from nexus_gateway.auth import Keys, KeysError, read_keys
from nexus_gateway.errors import Forbidden, TooMany, Unauthorized


def entry(key: str, **more: Any) -> dict[str, Any]:
    return {"hash": hashlib.sha256(key.encode()).hexdigest(), **more}


def write(path: Path, *entries: dict[str, Any]) -> Path:
    path.write_text(json.dumps(entries))
    return path


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_key_gives_tenant_and_roles(tmp_path: Path) -> None:
    keys = Keys(write(tmp_path / "keys", entry("k1", tenant="north", roles=["reader"])))
    who = keys.identify("Bearer k1")
    assert who.tenant == "north"
    who.require("reader")
    with pytest.raises(Forbidden):
        who.require("editor")
    for bad in ("", "Bearer", "Bearer k2", "Basic k1"):
        with pytest.raises(Unauthorized):
            keys.identify(bad)
    assert keys.identify("", "k1") == who
    with pytest.raises(Unauthorized):
        keys.identify("", "k2")
    assert "k1" not in repr(who)


def test_rate_lets_a_burst_through_then_says_when(tmp_path: Path) -> None:
    clock = Clock()
    keys = Keys(write(tmp_path / "keys", entry("k", rate=60)), clock)
    for _ in range(10):
        keys.identify("Bearer k")
    with pytest.raises(TooMany) as caught:
        keys.identify("Bearer k")
    assert (
        caught.value.headers["retry-after"] == "1" or int(caught.value.headers["retry-after"]) > 0
    )
    clock.now += 1.1
    keys.identify("Bearer k")


def test_changed_file_is_read_and_a_broken_one_is_not(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "keys"
    keys = Keys(write(path, entry("old")), clock)
    fresh = write(tmp_path / "next", entry("new"))
    os.replace(fresh, path)  # noqa: PTH105 - as a mounted Secret is replaced
    clock.now += 5
    keys.identify("Bearer new")
    with pytest.raises(Unauthorized):
        keys.identify("Bearer old")
    path.write_text("{nonsense")
    clock.now += 5
    keys.identify("Bearer new")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{}", "must hold a JSON list"),
        ("[1]", "entry 0: must be an object"),
        ('[{"hash": "abc"}]', "64 hex digits"),
        (json.dumps([entry("k", roles=["king"])]), "roles must be among"),
        (json.dumps([entry("k", rate=-1)]), "rate must be"),
        (json.dumps([entry("k", tenant="")]), "tenant must be"),
    ],
)
def test_bad_files_are_refused_by_entry_and_field(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "keys"
    path.write_text(content)
    with pytest.raises(KeysError, match=says):
        read_keys(path)


async def test_tenants_never_see_each_other(tmp_path: Path) -> None:
    keys = write(
        tmp_path / "keys",
        entry("north", tenant="north"),
        entry("south", tenant="south"),
        entry("scrape", tenant="ops", roles=["metrics"]),
    )
    async with gateway_world(tmp_path, api_keys_file=keys) as world:
        await world.serve_index("handbook", namespace="north")
        await world.serve_model("assistant", namespace="north")
        north, south = ({"authorization": f"Bearer {name}"} for name in ("north", "south"))
        documents = "/v1/indexes/handbook/documents"
        sent = await world.http.post(documents, files={"files": ("a.txt", b"x")}, headers=north)
        assert sent.status_code == 202
        for path in (documents, sent.json()["documents"][0]["status_url"], "/v1/models/assistant"):
            assert (await world.http.get(path, headers=north)).status_code == 200
            assert (await world.http.get(path, headers=south)).status_code == 404
            assert (await world.http.get(path)).status_code == 401
        body = {"model": "assistant", "messages": [{"role": "user", "content": "x"}]}
        other = await world.http.post("/v1/chat/completions", json=body, headers=south)
        assert other.status_code == 404
        assert (await world.http.get("/metrics")).status_code == 401
        assert (await world.http.get("/metrics", headers=north)).status_code == 403
        scraper = {"authorization": "Bearer scrape"}
        assert (await world.http.get("/metrics", headers=scraper)).status_code == 200
        assert (await world.http.get(documents, headers=scraper)).status_code == 403
        for path in ("/", "/healthz", "/readyz"):
            assert (await world.http.get(path)).status_code == 200


def test_keys_of_a_mounted_secret_are_read_again_when_the_kubelet_replaces_it(
    tmp_path: Path,
) -> None:
    """The kubelet writes a new folder and moves the link `..data` to it."""
    clock = Clock()

    def mount(name: str, *entries: dict[str, Any]) -> None:
        (tmp_path / name).mkdir()
        write(tmp_path / name / "keys.json", *entries)
        (tmp_path / "..new").symlink_to(name)
        (tmp_path / "..new").rename(tmp_path / "..data")

    mount("..2026_01", entry("old"))
    (tmp_path / "keys.json").symlink_to("..data/keys.json")
    keys = Keys(tmp_path / "keys.json", clock)
    keys.identify("Bearer old")
    mount("..2026_02", entry("new"))
    clock.now += 3
    keys.identify("Bearer new")
    with pytest.raises(Unauthorized):
        keys.identify("Bearer old")
