"""Whatever happens in whatever order, a job has one run at a time and comes to rest."""

from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from small_world import World, happening
from tuning import (
    end,
    ended,
    fail,
    fine_tune_job,
    finish_move,
    finish_run,
    node,
    parameters,
    runs,
    working,
)

from nexus_api.finetunejob import FineTuneJob, FineTuneJobStatus
from nexus_api.meta import (
    ALERT_REQUESTED,
    CANCEL_REQUESTED,
    LINEAGE,
    PROMOTE_REQUESTED,
    ROLLBACK_REQUESTED,
    RUN_REQUESTED,
)

TRIGGERS = [
    None,
    {"schedule": "0 * * * *", "cooldown": "30m"},
    {"alerts": [{"matchers": {"a": "b"}}], "cooldown": "2h"},
]


class JobWorld(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.key = self.world.create(fine_tune_job())
        self.number = 0
        self.known: set[str] = set()
        self.lineage = ""

    def teardown(self) -> None:
        try:
            self.come_to_rest()
        finally:
            self.world.close()

    @rule()
    def reconcile(self) -> None:
        before = self.world.cluster.writes["FineTuneJob"]
        self.world.reconcile(self.key)
        assert self.world.cluster.writes["FineTuneJob"] - before <= 3

    @rule(back=st.integers(0, 12), resource_back=st.integers(0, 12))
    def reconcile_with_old_view(self, back: int, resource_back: int) -> None:
        self.world.reconcile_with_old_view(self.key, back=back, resource_back=resource_back)

    @happening(seconds=st.sampled_from([1, 61, 1801, 7200, 90000]))
    def time_passes(self, seconds: int) -> None:
        self.world.advance(seconds)

    @precondition(lambda self: self.unfinished())
    @happening(percent=st.integers(0, 100))
    def training_goes_on(self, percent: int) -> None:
        train = node(self.world, "train", "Running", progress=f"{percent}/100")
        working(self.world, self.unfinished()[0], train)

    @precondition(lambda self: self.unfinished())
    @happening(verdict=st.sampled_from(["Promote", "Reject", "AskPerson"]))
    def run_is_done(self, verdict: str) -> None:
        self.number += 1
        version = "" if verdict == "Reject" else str(self.number)
        finish_run(self.world, self.unfinished()[0], verdict, version)

    @precondition(lambda self: self.unfinished())
    @happening(step=st.sampled_from(["select", "train"]), code=st.sampled_from([1, 75]))
    def run_fails(self, step: str, code: int) -> None:
        fail(self.world, self.unfinished()[0], step, code)

    @precondition(lambda self: self.unfinished())
    @happening()
    def run_ends_without_a_word(self) -> None:
        end(self.world, self.unfinished()[0], "Error")

    @precondition(lambda self: self.unfinished("nexus-release"))
    @happening(well=st.booleans())
    def move_ends(self, *, well: bool) -> None:
        move = self.unfinished("nexus-release")[0]
        if well:
            finish_move(self.world, move)
        else:
            fail(self.world, move, parameters(move)["action"])

    @happening(
        where=st.sampled_from([RUN_REQUESTED, ALERT_REQUESTED]),
        value=st.sampled_from(["a", "b", "alert:f:2026-01-31T12:00:00Z", "alert:f:x", ""]),
    )
    def run_is_requested(self, where: str, value: str) -> None:
        self.world.annotate(self.key, where, value)

    @happening(
        what=st.sampled_from([CANCEL_REQUESTED, PROMOTE_REQUESTED, ROLLBACK_REQUESTED]),
        value=st.sampled_from(["1 by ada", "2 by ada", "by ada", "nonsense", "{{x}}"]),
    )
    def something_else_is_requested(self, what: str, value: str) -> None:
        self.world.annotate(self.key, what, value)

    @happening(
        spec=st.fixed_dictionaries(
            {},
            optional={
                "suspend": st.booleans(),
                "triggers": st.sampled_from(TRIGGERS),
                "lora": st.fixed_dictionaries({"r": st.sampled_from([4, 8])}),
                "runsKept": st.sampled_from([1, 5]),
                "promotion": st.fixed_dictionaries(
                    {"pinnedVersion": st.sampled_from([None, "1", "2"])}
                ),
            },
        )
    )
    def spec_changes(self, spec: dict[str, Any]) -> None:
        self.world.patch(self.key, {"spec": spec})

    @precondition(lambda self: self.world.workflows())
    @happening(data=st.data())
    def somebody_deletes_a_workflow(self, data: st.DataObject) -> None:
        self.world.delete(data.draw(st.sampled_from(self.world.workflows())))

    @precondition(lambda self: (self.world.get(self.key.ref) or {}).get("status"))
    @happening()
    def status_is_lost(self) -> None:
        cleared = dict.fromkeys(self.world.the(self.key)["status"])
        self.world.run(
            self.world.cluster.patch(self.key.ref, {"status": cleared}, subresource="status")
        )

    @invariant()
    def one_run_at_a_time_and_no_move_twice(self) -> None:
        """Two moves for two requests, which an old view may make, wait for each other: a mutex."""
        assert len(self.unfinished()) <= 1
        asked = [parameters(one)["request"] for one in self.unfinished("nexus-release")]
        assert len(set(asked)) == len(asked)

    @happening(value=st.sampled_from([None, "", "another", "{{x}}"]))
    def somebody_edits_the_lineage(self, value: str | None) -> None:
        self.world.patch(self.key, {"metadata": {"annotations": {LINEAGE: value}}})

    @invariant()
    def who_had_a_champion_is_never_run_as_if_it_had_none(self) -> None:
        found = FineTuneJob.model_validate(self.world.the(self.key))
        noted = found.metadata.annotations.get(LINEAGE, "")
        for run in runs(self.world):
            if run["metadata"]["uid"] not in self.known and self.lineage and self.lineage == noted:
                assert parameters(run)["production"], "gated by floors alone"
        self.known |= {run["metadata"]["uid"] for run in runs(self.world)}
        self.lineage = noted if noted == found.lineage else ""

    @invariant()
    def the_status_can_be_read(self) -> None:
        found = self.world.the(self.key)
        FineTuneJob.model_validate(found)
        FineTuneJobStatus.model_validate(found.get("status") or {})

    def unfinished(self, what: str = "nexus-finetune") -> list[dict[str, Any]]:
        return [one for one in runs(self.world, what) if not ended(one)]

    def come_to_rest(self) -> None:
        """Whatever there was: once Workflows end, nothing is written any more."""
        self.world.patch(self.key, {"spec": {"triggers": None}})
        for _ in range(8):
            self.world.settle(self.key)
            open_ones = [*self.unfinished(), *self.unfinished("nexus-release")]
            if not open_ones and not self.world.reconcile(self.key).writes:
                break
            for one in open_ones:
                end(self.world, one, "Failed")
            self.world.advance(5)
        else:
            raise AssertionError("runs are started again and again")
        assert self.world.reconcile(self.key).writes == 0


JobWorld.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    phases=[Phase.reuse, Phase.generate],
)
TestJobWorld = JobWorld.TestCase
