"""`/hooks/notices`: what the Sensor on the bucket tells, and who may tell it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_world import World, gateway_world
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nexus_api.meta import SYNC_REQUESTED
from nexus_api.notices import TOKEN_HEADER
from nexus_gateway.rest.notices import Notice

TOKEN = "s3cret-of-notices"
HOOK = "/hooks/notices"
INDEX = "/apis/llmops.nexus/v1alpha1/namespaces/default/ragindexes/handbook"
KEYS = '[{"hash": "%s", "tenant": "default", "roles": ["admin"]}]' % ("0" * 64)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "keys.json").write_text(KEYS)
    files = {"notices_token_file": tmp_path / "token", "api_keys_file": tmp_path / "keys.json"}
    async with gateway_world(tmp_path, **files) as made:
        await made.serve_index()
        yield made


def notice(second: int = 0, **changed: Any) -> dict[str, Any]:
    when = f"2026-01-31T12:{second // 60:02}:{second % 60:02}.000Z"
    return {"namespace": "default", "index": "handbook", "eventTime": when, **changed}


async def tell(world: World, payload: object, token: str = TOKEN) -> httpx.Response:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return await world.http.post(HOOK, content=body, headers={TOKEN_HEADER: token})


def patches(world: World) -> list[str]:
    return [
        one.json()["metadata"]["annotations"][SYNC_REQUESTED]
        for one in world.control.server.seen(INDEX, "PATCH")
    ]


async def test_a_burst_of_a_thousand_notices_is_few_patches_of_which_the_last_is_newest(
    world: World,
) -> None:
    for second in range(1000):
        answer = await tell(world, notice(second))
        # Argo Events reads no body to its end; without one the connection serves again.
        assert (answer.status_code, answer.headers["content-length"]) == (202, "0")
    newest = "2026-01-31T12:16:39Z"
    await world.until(lambda: newest in patches(world))
    assert patches(world)[-1] == newest
    assert patches(world) == sorted(patches(world))
    # one each 2 s at the most, however slow the machine that tells a thousand
    assert len(patches(world)) < 100


async def test_an_older_notice_that_comes_again_is_covered_and_changes_nothing(
    world: World,
) -> None:
    await tell(world, notice(600))
    await world.until(lambda: len(patches(world)) == 1)
    reads = len(world.control.server.seen(INDEX, "GET"))
    await tell(world, notice(0))
    await world.until(lambda: len(world.control.server.seen(INDEX, "GET")) > reads)
    await world.services.syncs.stop()
    assert patches(world) == ["2026-01-31T12:10:00Z"]


async def test_what_is_noted_is_written_when_the_gateway_stops(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    async with gateway_world(tmp_path, notices_token_file=tmp_path / "token") as world:
        await world.serve_index()
        assert (await tell(world, notice(7))).status_code == 202
    assert patches(world) == ["2026-01-31T12:00:07Z"]


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "é"])
async def test_another_token_is_401_and_asks_for_nothing(world: World, token: str) -> None:
    headers = {TOKEN_HEADER.encode(): token.encode("latin-1")}
    answer = await world.http.post(HOOK, json=notice(), headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_token"
    assert TOKEN not in answer.text
    assert world.services.syncs.waiting == 0


async def test_an_api_key_does_not_stand_for_the_token(world: World) -> None:
    answer = await world.http.post(
        HOOK, json=notice(), headers={"authorization": f"Bearer {TOKEN}"}
    )
    assert answer.status_code == 401


async def test_a_token_that_was_renewed_counts_at_once(world: World) -> None:
    file = world.services.settings.notices_token_file
    assert file is not None
    file.write_text("another")
    assert (await tell(world, notice())).status_code == 401
    assert (await tell(world, notice(), "another")).status_code == 202


@pytest.mark.parametrize("content", [None, "", "\n"], ids=["missing", "empty", "blank"])
async def test_without_a_token_nobody_is_let_in(world: World, content: str | None) -> None:
    file = world.services.settings.notices_token_file
    assert file is not None
    file.unlink() if content is None else file.write_text(content)
    for token in ("", TOKEN):
        assert (await tell(world, notice(), token)).status_code == 503


async def test_a_gateway_without_the_hook_says_so(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        answer = await tell(world, notice())
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_offered"


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        ([], 400),
        ({}, 400),
        (notice(eventTime=""), 400),
        (notice(eventTime="yesterday"), 400),
        (notice(eventTime="2026-01-31T12:00:00"), 400),
        (notice(eventTime="99999-01-31T12:00:00Z"), 400),
        (notice(namespace=""), 400),
        (notice(index="x" * 10_000), 400),
        (notice(index=["handbook"]), 400),
        (notice(index="not-there"), 404),
        (notice(namespace="another"), 404),
        (notice(index="../servingmodels/assistant"), 404),
    ],
    ids=str,
)
async def test_what_means_nothing_is_refused_with_a_typed_error(
    world: World, payload: object, status: int
) -> None:
    answer = await tell(world, payload)
    assert answer.status_code == status
    code = answer.json()["error"]["code"]
    assert code == ("invalid_notice" if status == 400 else "index_not_found")
    assert world.services.syncs.waiting == 0


async def test_before_the_indexes_are_known_the_sensor_is_to_come_again(world: World) -> None:
    world.services.routes.indexes.clear()
    world.services.mirror._listed.clear()  # as in a gateway that has just started
    assert (await tell(world, notice())).status_code == 503


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(body: bytes) -> None:
    try:
        Notice.model_validate_json(body)
    except ValidationError:
        return
