"""Whatever happens in whatever order, an index is synced by one run at a time and comes to rest."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from small_world import World, happening, rag_index

from nexus_api.meta import FORCE_RELEASE, SYNC_REQUESTED
from nexus_api.ragindex import RagIndex, RagIndexStatus
from nexus_operator.objects import name_of
from nexus_operator.status.conditions import timestamp

PHASES = st.sampled_from(["Succeeded", "Succeeded", "Failed", "Error"])


class IndexWorld(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.key = self.world.create(rag_index())
        self.requests = 0

    def teardown(self) -> None:
        try:
            self.come_to_rest()
        finally:
            self.world.close()

    # -- what the controller does

    @rule(hurry=st.booleans())
    def reconcile(self, *, hurry: bool = False) -> None:
        before = self.world.get(self.key.ref)
        written = self.world.cluster.writes["RagIndex"]
        self.world.reconcile(self.key, hurry=hurry)
        assert self.world.cluster.writes["RagIndex"] - written <= 3
        after = self.world.get(self.key.ref)
        if before is not None and after is not None and self.status(after):
            self.check_transition_times(before, after)

    @rule(back=st.integers(0, 12), resource_back=st.integers(0, 12), hurry=st.booleans())
    def reconcile_with_old_view(self, back: int, resource_back: int, *, hurry: bool) -> None:
        self.world.reconcile_with_old_view(
            self.key, back=back, resource_back=resource_back, hurry=hurry
        )

    # -- what others do

    @happening(seconds=st.sampled_from([1, 9, 61, 301, 7200]))
    def time_passes(self, seconds: int) -> None:
        self.world.advance(seconds)

    @precondition(lambda self: self.unfinished())
    @happening(phase=PHASES, pending=st.sampled_from([0, 0, 3]), code=st.sampled_from([1, 75]))
    def run_ends(self, phase: str, pending: int, code: int) -> None:
        options: dict[str, Any] = (
            {"pending": pending} if phase == "Succeeded" else {"exit_code": code}
        )
        self.world.end_run(self.unfinished()[0], phase, **options)

    @precondition(lambda self: self.unfinished())
    @happening()
    def run_ends_well(self) -> None:
        self.world.end_run(self.unfinished()[0], "Succeeded")

    @precondition(lambda self: self.unfinished())
    @happening()
    def run_ends_without_a_report(self) -> None:
        self.world.end_run(self.unfinished()[0], "Succeeded", report="{")

    @precondition(lambda self: self.present())
    @happening()
    def sync_is_requested(self) -> None:
        self.requests += 1
        self.world.annotate(self.key, SYNC_REQUESTED, f"upload-{self.requests}")

    @precondition(lambda self: self.present())
    @happening(ago=st.sampled_from([-60, 0, 5, 29, 30, 31, 90, 7200]))
    def object_is_told_of(self, ago: int) -> None:
        told = timestamp(self.world.now - timedelta(seconds=ago))
        self.world.annotate(self.key, SYNC_REQUESTED, told)

    @precondition(lambda self: self.present())
    @happening(
        spec=st.sampled_from(
            [
                {"chunking": {"maxTokens": 128}},
                {"chunking": {"maxTokens": 256}},
                {"source": {"suspend": True}},
                {"source": {"suspend": False}},
                {"source": {"include": ["*.pdf"]}},
                {"retention": {"runsKept": 1}},
                {"sync": {"interval": "30s"}},
            ]
        )
    )
    def spec_is_edited(self, spec: dict[str, Any]) -> None:
        self.world.patch(self.key, {"spec": spec})

    @precondition(lambda self: self.world.workflows())
    @happening(data=st.data())
    def ended_run_is_deleted_by_hand(self, data: st.DataObject) -> None:
        ended = [one for one in self.world.workflows() if one not in self.unfinished()]
        if ended:
            self.world.delete(data.draw(st.sampled_from(ended)))

    @precondition(lambda self: self.unfinished())
    @happening()
    def running_run_is_deleted_by_hand(self) -> None:
        self.world.delete(self.unfinished()[0])

    @precondition(lambda self: self.present())
    @happening()
    def status_is_lost_in_a_restore(self) -> None:
        nothing = {"status": dict.fromkeys(self.status(self.world.the(self.key)))}
        self.world.run(self.world.cluster.patch(self.key.ref, nothing, subresource="status"))
        self.world.reconcile(self.key)

    @precondition(lambda self: self.present())
    @happening(force=st.sampled_from([False, False, True]))
    def index_is_deleted(self, *, force: bool) -> None:
        if force:
            self.world.annotate(self.key, FORCE_RELEASE, "true")
        self.world.delete(self.key)

    @precondition(lambda self: not self.present())
    @happening()
    def index_is_made_again(self) -> None:
        self.key = self.world.create(rag_index())

    # -- what must hold

    @invariant()
    def one_sync_at_a_time(self) -> None:
        assert len([one for one in self.unfinished() if "-sync-" in name_of(one)]) <= 1

    @invariant()
    def status_is_well_formed(self) -> None:
        if self.present():
            RagIndexStatus.model_validate(self.status(self.world.the(self.key)))

    def come_to_rest(self) -> None:
        """Let every run end well; then nothing is left to do."""
        for _ in range(40):
            result = self.world.reconcile(self.key)
            waiting = self.unfinished()
            for workflow in waiting:
                self.world.end_run(workflow, "Succeeded")
            if not waiting and result.writes == 0:
                if not self.present() or self.at_rest():
                    break
                self.world.advance(601)
        index = self.world.get(self.key.ref)
        if index is None:
            return
        if index["metadata"].get("deletionTimestamp"):
            raise AssertionError("the index was never released")
        assert self.at_rest(), index["status"]
        self.world.advance(1)
        assert self.world.reconcile(self.key).writes == 0, "a second run writes something"

    def at_rest(self) -> bool:
        index = RagIndex.model_validate(self.world.the(self.key))
        if index.spec.source.suspend:
            return self.world.condition(self.key, "Synced").get("reason") == "Suspended"
        synced = self.world.condition(self.key, "Synced").get("status") == "True"
        current = index.status.fingerprint == index.spec.fingerprint()
        asked = index.metadata.annotations.get(SYNC_REQUESTED)
        return synced and current and asked in {None, index.status.last_sync_request}

    # -- reading

    def present(self) -> bool:
        return self.world.get(self.key.ref) is not None

    def unfinished(self) -> list[dict[str, Any]]:
        return [one for one in self.world.workflows() if not (one.get("status") or {}).get("phase")]

    @staticmethod
    def status(index: dict[str, Any]) -> dict[str, Any]:
        return index.get("status") or {}

    def check_transition_times(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        old = {one["type"]: one for one in self.status(before).get("conditions", [])}
        for one in self.status(after)["conditions"]:
            was = old.get(one["type"])
            if was and was["status"] == one["status"]:
                assert was["lastTransitionTime"] == one["lastTransitionTime"]


IndexWorld.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestIndexWorld = pytest.mark.timeout(1500)(IndexWorld.TestCase)
