"""What an index is asked for a sync by, and how many requests become one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from gateway_scripted import Control, Request, index_manifest, send_json
from gateway_world import World
from hypothesis import given
from hypothesis import strategies as st

from nexus_api.meta import SYNC_REQUESTED
from nexus_api.notices import CLOCK_MARGIN
from nexus_api.ragindex import RagIndex
from nexus_gateway.control.client import ControlClient, ControlConflict, ControlMissing
from nexus_gateway.control.syncs import stamp
from nexus_operator.plan import schedule
from nexus_operator.status.history import LastSync

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
INDEX = "/apis/llmops.nexus/v1alpha1/namespaces/default/ragindexes/handbook"

SECONDS = st.floats(-1e5, 1e5, allow_nan=False)
ZONES = st.timezones()


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_the_margin_is_what_operator_and_gateway_both_allow_for() -> None:
    assert timedelta(seconds=30) == CLOCK_MARGIN


@pytest.mark.parametrize(
    ("standing", "changed", "asked"),
    [
        ("", 0, "2026-01-31T12:00:00Z"),
        ("me-7", 0, "2026-01-31T12:00:00Z"),
        ("2026-01-31T12:00:00", 0, "2026-01-31T12:00:00Z"),
        ("2026-01-31T11:59:59.999Z", 0, "2026-01-31T12:00:00Z"),
        ("2026-01-31T12:00:00.000Z", 0, ""),
        ("2026-01-31T13:00:00.000+01:00", 0, ""),
        ("2026-01-31T12:00:30Z", 0, ""),
        ("2026-01-31T12:00:29Z", 0, "2026-01-31T12:00:29.001000Z"),
        ("2099-01-01T00:00:00Z", 0, "2099-01-01T00:00:00.001000Z"),
        ("2026-01-31T11:00:00Z", 1e6, "2026-01-31T12:01:40Z"),
        ("9999-12-31T23:59:59.999999Z", 0, "2026-01-31T12:00:00Z"),
        ("9999-12-31T23:59:59.999999-12:00", 0, "2026-01-31T12:00:00Z"),
        ("0001-01-01T00:00:00+14:00", 0, "2026-01-31T12:00:00Z"),
    ],
)
def test_what_is_asked(standing: str, changed: float, asked: str) -> None:
    assert stamp(standing, at(changed), at(100)) == asked


@given(st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=20))
def test_a_request_never_gets_earlier_and_is_never_later_than_its_change_but_a_step(
    told: list[tuple[float, float]],
) -> None:
    standing, latest = "", None
    for changed, now in told:
        asked = stamp(standing, at(changed), at(now))
        if not asked:
            continue
        moment = datetime.fromisoformat(asked)
        before = datetime.fromisoformat(standing) if standing else None
        assert before is None or before < moment
        known = min(at(changed), at(now))
        latest = known if latest is None else max(latest, known)
        assert latest <= moment <= latest + timedelta(milliseconds=len(told))
        standing = asked


@given(st.text(max_size=40) | st.datetimes(timezones=st.none() | ZONES).map(str), SECONDS, SECONDS)
def test_whatever_stands_there_a_new_request_differs_from_it(
    standing: str, changed: float, now: float
) -> None:
    assert stamp(standing, at(changed), at(now)) != standing


@st.composite
def days(draw: st.DrawFn) -> list[tuple[float, float, float]]:
    """Changes: when each came to be, how wrong its node's clock was, and when it was told of."""
    some = st.floats(0, 300, allow_nan=False)
    skew = st.floats(-14, 14, allow_nan=False)
    made = draw(st.lists(st.tuples(some, skew, st.floats(0, 100)), min_size=1, max_size=12))
    return [(real, real + wrong, real + lag) for real, wrong, lag in made]


@given(days(), st.floats(1, 60))
def test_every_change_is_seen_by_a_sync_whatever_order_it_is_told_in(
    changes: list[tuple[float, float, float]], every: float
) -> None:
    """The operator looks now and then, and starts a sync when its own rule asks for one."""
    standing, answered, syncs = "", "", [at(-3600)]
    told = sorted(changes, key=lambda one: one[2])
    clock = 0.0
    while told or clock < 600:
        clock += every
        while told and told[0][2] <= clock:
            _, stated, when = told.pop(0)
            standing = stamp(standing, at(stated), at(when)) or standing
        if asks(standing, answered, syncs[-1]):
            syncs.append(at(clock))
            answered = standing
    assert syncs[-1] >= max(at(real) for real, _, _ in changes)


def asks(standing: str, answered: str, started: datetime) -> bool:
    manifest = index_manifest("handbook")
    manifest["metadata"]["annotations"] = {SYNC_REQUESTED: standing}
    last = LastSync(
        name="handbook-1",
        state="succeeded",
        complete=True,
        attempt=1,
        cause="requested",
        request=answered,
        started=started,
        finished=started,
    )
    return schedule.asks(RagIndex.model_validate(manifest), last)


def annotation(world: World) -> str:
    metadata = world.control.objects["ragindexes"][("default", "handbook")]["metadata"]
    told: str = metadata.get("annotations", {}).get(SYNC_REQUESTED, "")
    return told


async def test_a_later_request_of_another_gateway_stays(world: World) -> None:
    """The other one writes between our look and our patch."""
    await world.serve_index()
    served = world.control.server.replies[INDEX]
    later = "2026-01-31T12:05:00Z"
    others = [later]

    async def between(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.method == "PATCH" and others:
            manifest = index_manifest("handbook")
            manifest["metadata"]["annotations"] = {SYNC_REQUESTED: others.pop()}
            world.control.put("ragindexes", manifest)
            world.control.server.replies[INDEX] = between
        await served(request, writer)

    world.control.server.replies[INDEX] = between
    world.services.syncs.ask("default", "handbook", NOON)
    await world.until(lambda: world.services.syncs.waiting == 0)
    assert not others
    assert annotation(world) == later


async def test_what_was_asked_while_the_api_was_away_is_written_when_it_is_back(
    world: World,
) -> None:
    await world.serve_index()
    served = world.control.server.replies[INDEX]

    async def broken(_request: Request, writer: asyncio.StreamWriter) -> None:
        await send_json(writer, {"message": "no leader"}, 503)

    world.control.server.replies[INDEX] = broken
    world.services.syncs.ask("default", "handbook", NOON)
    await world.until(lambda: len(world.control.server.seen(INDEX)) >= 2)
    world.services.syncs.ask("default", "handbook", at(60))
    assert world.services.syncs.waiting == 1
    world.control.server.replies[INDEX] = served
    await world.until(lambda: world.services.syncs.waiting == 0)
    assert annotation(world) == "2026-01-31T12:01:00Z"
    assert len(world.control.server.seen(INDEX, "PATCH")) == 1


async def test_an_index_that_was_deleted_is_let_go(world: World) -> None:
    await world.serve_index()
    world.control.remove("ragindexes", "default", "handbook")
    world.services.syncs.ask("default", "handbook", NOON)
    await world.until(lambda: world.services.syncs.waiting == 0)
    assert not world.control.server.seen(INDEX, "PATCH")


async def test_an_upload_after_notices_asks_anew(world: World) -> None:
    await world.serve_index()
    for changed in (NOON, None):
        world.services.syncs.ask("default", "handbook", changed)
        await world.until(lambda: world.services.syncs.waiting == 0)
    first, second = world.control.server.seen(INDEX, "PATCH")
    assert first.json() != second.json()


async def test_each_index_is_asked_for_itself(world: World) -> None:
    for name in ("one", "two"):
        await world.serve_index(name)
        world.services.syncs.ask("default", name, NOON)
    await world.until(lambda: world.services.syncs.waiting == 0)
    for name in ("one", "two"):
        assert world.control.server.seen(INDEX.replace("handbook", name), "PATCH")


async def test_client_tells_apart_what_is_gone_and_what_is_newer() -> None:
    control = Control()
    control.put("ragindexes", index_manifest("handbook"))
    async with control.server.running():
        client = ControlClient(control.server.url, token_file=None, ca_file=None)
        found = await client.get("ragindexes", "default", "handbook")
        asked = ("ragindexes", "default", "handbook", {SYNC_REQUESTED: "x"})
        version = found["metadata"]["resourceVersion"]
        await client.annotate(*asked, version=version)
        with pytest.raises(ControlConflict):
            await client.annotate(*asked, version=version)
        await client.annotate(*asked)
        control.remove("ragindexes", "default", "handbook")
        with pytest.raises(ControlMissing):
            await client.get("ragindexes", "default", "handbook")
        client.close()
