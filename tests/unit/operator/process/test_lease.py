"""The Lease: one holder, who stops writing before another may begin."""

import asyncio
from typing import Any

import pytest
from fake_cluster import KINDS, FakeCluster

from nexus_operator.cluster.errors import Conflict, Unavailable
from nexus_operator.cluster.fenced import Fenced
from nexus_operator.cluster.protocol import Ref
from nexus_operator.process.lease import Lease

LEASE = Ref("coordination.k8s.io/v1", "Lease", "platform", "nexus-operator")
CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "a", "namespace": "default"},
}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    monkeypatch.setattr("fake_cluster.KINDS", KINDS | {LEASE[:2]})
    return FakeCluster()


def lease(cluster: FakeCluster, name: str, clock: Clock) -> Lease:
    return Lease(cluster, "platform", name, monotonic=clock)


async def holder(cluster: FakeCluster) -> str:
    found = await cluster.get(LEASE)
    assert found is not None
    return str(found["spec"]["holderIdentity"])


async def test_the_first_takes_it_and_writes_until_it_runs_out(cluster: FakeCluster) -> None:
    clock = Clock()
    ours = lease(cluster, "us", clock)
    fenced = Fenced(cluster, ours)
    with pytest.raises(Unavailable, match="Lease"):
        await fenced.create(CONFIG)
    await ours.acquire()
    assert await holder(cluster) == "us"
    await fenced.create(CONFIG)
    clock.now += 10.1
    assert not ours.held
    with pytest.raises(Unavailable, match="Lease"):
        await fenced.delete(Ref("v1", "ConfigMap", "default", "a"))


async def test_another_takes_it_only_after_it_stood_still_for_its_duration(
    cluster: FakeCluster,
) -> None:
    clock = Clock()
    ours, theirs = lease(cluster, "us", clock), lease(cluster, "them", clock)
    await ours.acquire()
    assert await theirs._try() == "us"
    clock.now += 14
    assert await theirs._try() == "us"
    assert await ours._try() == "us"  # renewed
    clock.now += 2
    assert await theirs._try() == "us"
    clock.now += 16
    assert not ours.held
    assert await theirs._try() == "them"
    assert await holder(cluster) == "them"


async def test_released_it_is_free_at_once(cluster: FakeCluster) -> None:
    clock = Clock()
    ours, theirs = lease(cluster, "us", clock), lease(cluster, "them", clock)
    await ours.acquire()
    await ours.release()
    assert not ours.held
    assert await theirs._try() == "them"


async def test_a_release_leaves_the_lease_of_another_alone(cluster: FakeCluster) -> None:
    ours = lease(cluster, "us", Clock())
    await ours.acquire()
    await cluster.patch(LEASE, {"spec": {"holderIdentity": "them"}})
    await ours.release()
    assert await holder(cluster) == "them"


class Meddling(FakeCluster):
    """Somebody changes the Lease between each read of ours and the write after it."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0
        self.spec: dict[str, str] = {}

    async def patch(self, ref: Ref, patch: Any, **rest: Any) -> Any:
        if self.times and "resourceVersion" in patch.get("metadata", {}):
            self.times -= 1
            note = {"metadata": {"annotations": {"note": str(self.times)}}, "spec": self.spec}
            await super().patch(ref, note)
        return await super().patch(ref, patch, **rest)


@pytest.fixture
def meddled(monkeypatch: pytest.MonkeyPatch) -> Meddling:
    monkeypatch.setattr("fake_cluster.KINDS", KINDS | {LEASE[:2]})
    return Meddling()


async def test_a_note_on_the_lease_takes_it_from_nobody(meddled: Meddling) -> None:
    clock = Clock()
    ours = lease(meddled, "us", clock)
    await ours.acquire()
    clock.now += 4
    meddled.times = 1
    assert await ours._try() == "us"
    assert ours.remaining == pytest.approx(10)
    meddled.times = 1
    await ours.release()
    assert await holder(meddled) == ""


async def test_notes_without_end_only_delay_a_renewal(meddled: Meddling) -> None:
    clock = Clock()
    ours = lease(meddled, "us", clock)
    await ours.acquire()
    clock.now += 4
    meddled.times = 1_000
    with pytest.raises(Conflict):
        await ours._try()
    assert ours.remaining == pytest.approx(6)
    meddled.times = 0
    assert await ours._try() == "us"


async def test_a_turn_that_somebody_took_meanwhile_is_lost(meddled: Meddling) -> None:
    ours = lease(meddled, "us", Clock())
    await ours.acquire()
    meddled.times, meddled.spec = 1, {"holderIdentity": "them"}
    assert await ours._try() == "them"


async def test_a_lease_that_is_deleted_is_made_again(cluster: FakeCluster) -> None:
    ours = lease(cluster, "us", Clock())
    await ours.acquire()
    await cluster.delete(LEASE)
    assert await ours._try() == "us"
    assert await holder(cluster) == "us"


class Stalling(FakeCluster):
    async def create(self, manifest: Any) -> Any:
        if manifest["kind"] == "ConfigMap":
            await asyncio.Event().wait()
        return await super().create(manifest)


async def test_a_write_under_way_ends_with_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fake_cluster.KINDS", KINDS | {LEASE[:2]})
    cluster = Stalling()
    clock = Clock()
    ours = lease(cluster, "us", clock)
    await ours.acquire()
    clock.now += 9.95
    with pytest.raises(Unavailable, match="ran out"):
        await Fenced(cluster, ours).create(CONFIG)


async def test_writes_wait_for_a_renewal_that_is_late(cluster: FakeCluster) -> None:
    clock = Clock()
    ours = lease(cluster, "us", clock)
    await ours.acquire()
    clock.now += 9.0
    async with asyncio.timeout(10):
        write = asyncio.create_task(Fenced(cluster, ours).create(CONFIG))
        done, _ = await asyncio.wait({write}, timeout=0.3)
        assert not done
        assert await cluster.get(Ref("v1", "ConfigMap", "default", "a")) is None
        await ours._try()
        await write
    assert await cluster.get(Ref("v1", "ConfigMap", "default", "a")) is not None


async def test_writes_that_waited_are_refused_when_the_claim_has_ended(
    cluster: FakeCluster,
) -> None:
    clock = Clock()
    ours = lease(cluster, "us", clock)
    await ours.acquire()
    clock.now += 9.0
    async with asyncio.timeout(10):
        write = asyncio.create_task(Fenced(cluster, ours).create(CONFIG))
        await asyncio.sleep(0)
        clock.now += 2.0
        with pytest.raises(Unavailable, match="Lease"):
            await write
    assert await cluster.get(Ref("v1", "ConfigMap", "default", "a")) is None
