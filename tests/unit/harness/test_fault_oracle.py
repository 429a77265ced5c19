"""The fault laboratory's oracle calls out what it is there for, in histories made by hand."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fault_lab import case as laboratory_case
from fault_lab.case import Case, NotConverged
from fault_lab.client import Manifest
from fault_lab.kinds import BY_KIND
from fault_lab.laboratory import Laboratory
from fault_lab.mirror import Change, Place
from fault_lab.oracle import deletions, violations
from fault_lab.subject import Operator
from fault_proxy import Asked, FaultProxy, Record
from fault_proxy.asked import Verb
from fault_proxy.proxy import Tap

from nexus_operator.settings import Settings

NAMESPACE, PLATFORM = "case-1", "case-1-platform"
SYNC, NEXT = "case-1-handbook-sync-0a1b2c3d", "case-1-handbook-sync-4e5f6a7b"
ON_INDEX = {"llmops.nexus/index": "handbook"}
ON_JOB = {"llmops.nexus/job": "tuning"}
REVISION = "llmops.nexus/revision"


class History:
    """What happened to the objects of a case, and what its operator asked for."""

    def __init__(self) -> None:
        self.places = {NAMESPACE: Place(), PLATFORM: Place()}
        self.record = Record()
        self._version = 0

    def saw(self, kind: str, name: str, *, event: str = "MODIFIED", **parts: Any) -> None:
        """Note a change; `labels` and `going` are of the metadata, other parts stand beside it."""
        self._version += 1
        metadata: Manifest = {"name": name, "uid": f"uid-{name}", "labels": parts.pop("labels", {})}
        if parts.pop("going", False):
            metadata["deletionTimestamp"] = "2026-01-31T12:00:00Z"
        found = {"metadata": metadata, **parts}
        place = self.places[PLATFORM if kind == "Workflow" else NAMESPACE]
        place.take(Change(self._version, event, kind, name, found))

    def run(self, name: str, phase: str = "Running", **more: Any) -> None:
        self.saw("Workflow", name, **{"labels": ON_INDEX, "status": {"phase": phase}, **more})

    def asked(self, verb: Verb, kind: str, name: str, *, answered: int = 200) -> None:
        """Note a request of the operator, and what the API server answered."""
        resource = BY_KIND[kind].plural
        asked = Asked(verb=verb, resource=resource, name=name)
        exchange = self.record.begin(asked, b"", actor="start-1", write=asked.writes)
        exchange.forwarded = answered
        self.record.end(exchange, answered)

    def case(self, **more: Any) -> Case:
        proxy = SimpleNamespace(record=self.record, script=SimpleNamespace(paused=False))
        mirror = SimpleNamespace(places=self.places)
        return Case(
            lab=cast(Laboratory, SimpleNamespace(mirror=mirror)),
            label="by hand",
            namespace=NAMESPACE,
            platform=PLATFORM,
            expected=None,
            patience=1,
            proxy=cast(FaultProxy, proxy),
            actors=cast(Any, None),
            settings=Settings(),
            starter=more.get("starter", cast(Any, None)),
        )

    def told(self, *allowed: str) -> list[str]:
        return violations(self.case(), set(allowed))


@pytest.fixture
def history() -> History:
    return History()


def test_a_life_without_harm_is_no_violation(history: History) -> None:
    """Two syncs, one after the other, a switch to what is ready, and what goes with its index."""
    history.saw("RagIndex", "handbook", event="ADDED")
    history.run(SYNC, event="ADDED")
    history.run(SYNC, "Succeeded")
    history.run(NEXT, event="ADDED")
    switch(history, ready_first=True)
    history.saw("RagIndex", "handbook", going=True)
    history.asked("delete", "Workflow", NEXT)
    history.run(NEXT, event="DELETED")
    assert history.told("Workflow <sync 2>") == []


def test_two_syncs_of_an_index_at_a_time_are_called_out(history: History) -> None:
    history.run(SYNC, event="ADDED")
    history.run(NEXT, event="ADDED")
    assert history.told() == [f"two syncs of handbook at a time: {SYNC}, {NEXT}"]


@pytest.mark.parametrize("phase", ["", "Pending"])
def test_a_sync_that_has_not_begun_is_one_too(history: History, phase: str) -> None:
    history.run(SYNC, phase, event="ADDED")
    history.run(NEXT, phase, event="ADDED")
    assert len(history.told()) == 1


@pytest.mark.parametrize("phase", ["Succeeded", "Failed", "Error"])
def test_syncs_in_turn_and_those_of_two_indexes_are_none(history: History, phase: str) -> None:
    history.run(SYNC, event="ADDED")
    history.run("case-1-notes-sync-4e5f6a7b", event="ADDED", labels={"llmops.nexus/index": "notes"})
    history.run("case-1-handbook-teardown-4e5f6a7b", event="ADDED")
    history.run(SYNC, phase)
    history.run(NEXT, event="ADDED")
    assert history.told() == []


def test_a_sync_that_is_gone_runs_no_more(history: History) -> None:
    history.run(SYNC, event="ADDED")
    history.run(SYNC, event="DELETED")  # by hand
    history.run(NEXT, event="ADDED")
    assert history.told() == []


def deployment(history: History, revision: str, *, ready: int, **more: Any) -> None:
    status = {"readyReplicas": ready}
    name = f"assistant-{revision}"
    history.saw("Deployment", name, labels={REVISION: revision}, status=status, **more)


def led_to(history: History, revision: str) -> None:
    history.saw("Service", "assistant", spec={"selector": {REVISION: revision}})


def switch(history: History, *, ready_first: bool) -> None:
    deployment(history, "old", ready=1, event="ADDED")
    led_to(history, "old")
    deployment(history, "new", ready=int(ready_first), event="ADDED")
    led_to(history, "new")


def test_a_service_that_is_led_to_what_is_not_ready_is_called_out(history: History) -> None:
    switch(history, ready_first=False)
    deployment(history, "new", ready=1)
    assert history.told() == ["Service assistant was led to revision new, which was not ready"]


def test_a_service_may_wait_for_what_is_not_ready_when_nothing_else_is(history: History) -> None:
    deployment(history, "old", ready=1, event="ADDED")
    led_to(history, "old")
    deployment(history, "old", ready=0, event="DELETED")
    deployment(history, "new", ready=0, event="ADDED")
    led_to(history, "new")
    assert history.told() == []


def test_a_revision_that_was_ready_and_is_gone_is_not_ready(history: History) -> None:
    switch(history, ready_first=True)
    deployment(history, "old", ready=1, event="DELETED")
    led_to(history, "old")
    assert len(history.told()) == 1


def test_a_deletion_that_the_undisturbed_run_does_not_have_is_called_out(history: History) -> None:
    history.saw("Service", "assistant", event="ADDED", spec={})
    history.asked("delete", "Service", "assistant")
    history.saw("Service", "assistant", event="DELETED", spec={})
    assert history.told() == ["deleted Service assistant, which the undisturbed run keeps"]
    assert history.told("Service assistant") == []


@pytest.mark.parametrize("answered", [0, 404, 409, 500])
def test_a_deletion_that_the_server_did_not_carry_out_is_none(
    history: History, answered: int
) -> None:
    history.asked("delete", "Service", "assistant", answered=answered)
    assert history.told() == []


def test_runs_are_called_by_their_number(history: History) -> None:
    """Their names differ between two runs of a scenario."""
    history.run(SYNC, "Succeeded", event="ADDED")
    history.run(NEXT, "Succeeded", event="ADDED")
    history.asked("delete", "Workflow", SYNC)
    assert deletions(history.case()) == {"Workflow <sync 1>"}


@pytest.mark.parametrize("labels", [ON_INDEX, ON_JOB], ids=["index", "job"])
def test_a_live_run_that_the_operator_deletes_is_called_out(
    history: History, labels: Manifest
) -> None:
    history.run(SYNC, event="ADDED", labels=labels)
    history.asked("delete", "Workflow", SYNC)
    history.run(SYNC, event="DELETED", labels=labels)
    assert history.told("Workflow <sync 1>") == [f"run {SYNC} was deleted while it ran"]


def test_the_end_of_another_index_does_not_excuse_it(history: History) -> None:
    history.saw("RagIndex", "notes", going=True)
    history.run(SYNC, event="ADDED")
    history.asked("delete", "Workflow", SYNC)
    history.run(SYNC, event="DELETED")
    assert len(history.told("Workflow <sync 1>")) == 1


OWNERS = [(ON_INDEX, "RagIndex", "handbook"), (ON_JOB, "FineTuneJob", "tuning")]


@pytest.mark.parametrize(("labels", "kind", "name"), OWNERS, ids=["index", "job"])
@pytest.mark.parametrize("in_time", [True, False])
def test_a_live_run_goes_with_its_own_and_not_before(
    history: History, labels: Manifest, kind: str, name: str, *, in_time: bool
) -> None:
    history.run(SYNC, event="ADDED", labels=labels)
    if in_time:
        history.saw(kind, name, going=True)
    history.asked("delete", "Workflow", SYNC)
    history.run(SYNC, event="DELETED", labels=labels)
    if not in_time:
        history.saw(kind, name, going=True)
    assert bool(history.told("Workflow <sync 1>")) != in_time


@pytest.mark.parametrize("phase", ["Succeeded", "Failed", "Error"])
def test_a_run_that_is_over_and_one_that_somebody_else_deletes_may_go(
    history: History, phase: str
) -> None:
    history.run(SYNC, phase, event="ADDED")
    history.asked("delete", "Workflow", SYNC)
    history.run(SYNC, phase, event="DELETED")
    history.run(NEXT, event="ADDED")
    history.run(NEXT, event="DELETED")
    assert history.told("Workflow <sync 1>") == []


class Restarted:
    """Stands for an operator that is started anew: it lists, watches, and does what it is told."""

    def __init__(self, history: History, then: Callable[[], None]) -> None:
        self._history = history
        self._then = then
        self.tap = SimpleNamespace(actor="start-1")
        self.running = True

    def kill(self) -> None:
        self.running = False

    def start(self) -> None:
        for kind in ("RagIndex", "ServingModel", "FineTuneJob"):
            self._history.asked("list", kind, "")
            self._history.asked("watch", kind, "")
        self._then()


def at_rest(history: History, monkeypatch: pytest.MonkeyPatch, then: Callable[[], None]) -> None:
    monkeypatch.setattr(laboratory_case, "QUIET_SECONDS", 0.0)
    history.asked("patch", "Service", "assistant")  # before the restart, as it should be

    async def starter(*_given: object) -> Operator:
        started = Restarted(history, then)
        started.start()
        return cast(Operator, started)

    async def opened(_actor: str) -> Tap:
        return cast(Tap, None)

    case = history.case(starter=starter)
    cast(Any, case.proxy).open = opened
    asyncio.run(case.at_rest())


def test_an_operator_that_only_reads_is_at_rest(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> None:
        history.asked("patch", "Service", "assistant", answered=409)

    at_rest(history, monkeypatch, refused)


@pytest.mark.parametrize("verb", ["create", "update", "patch", "delete"])
def test_a_write_at_rest_is_called_out(
    history: History, monkeypatch: pytest.MonkeyPatch, verb: Verb
) -> None:
    def written() -> None:
        history.asked(verb, "Service", "assistant")

    with pytest.raises(NotConverged, match=f"written at a resync: .*{verb} services assistant"):
        at_rest(history, monkeypatch, written)
