"""Whatever happens in whatever order, a job has one run at a time and comes to rest."""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from small_world import World, happening
from tuning import (
    end,
    fail,
    fine_tune_job,
    finish_count,
    finish_move,
    finish_run,
    job_status,
    let_go,
    node,
    parameters,
    runs,
    unfinished,
    working,
)

from nexus_api.finetunejob import FineTuneJob, FineTuneJobStatus
from nexus_api.meta import (
    ALERT_REQUESTED,
    CANCEL_REQUESTED,
    LINEAGE,
    PROMOTE_REQUESTED,
    PROMOTION_BLOCKED,
    ROLLBACK_REQUESTED,
    RUN_REQUESTED,
)
from nexus_api.training_progress import TrainingProgress

TRIGGERS = [
    None,
    {"schedule": "0 * * * *", "cooldown": "30m"},
    {"alerts": [{"matchers": {"a": "b"}}], "cooldown": "2h"},
    {"newData": {"minExamples": 5, "checkInterval": "10m"}, "cooldown": "30m"},
]
COUNT = "nexus-count"


class JobWorld(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.key = self.world.create(fine_tune_job())
        self.number = 0
        self.known: set[str] = set()
        self.lineage = ""
        self.reached: set[str] = set()
        self.asked: dict[str, str] = {}

    @initialize(triggers=st.sampled_from(TRIGGERS))
    def it_has_triggers_from_the_start(self, triggers: Any) -> None:
        self.world.patch(self.key, {"spec": {"triggers": triggers}})

    def teardown(self) -> None:
        try:
            self.come_to_rest()
            self.go()
        finally:
            self.world.close()

    @rule()
    def reconcile(self) -> None:
        before = self.world.cluster.writes["FineTuneJob"]
        found = FineTuneJob.model_validate(self.world.the(self.key))
        released = self.released_by_the_gate()
        self.world.reconcile(self.key)
        assert self.world.cluster.writes["FineTuneJob"] - before <= 3
        if more := self.released_by_the_gate() - released:
            decided = found.status.last_decision
            assert not found.metadata.annotations.get(PROMOTION_BLOCKED), "a stop stands"
            assert found.spec.promotion.mode == "Auto"
            assert decided is None or decided.run not in more or decided.verdict == "Promote"

    @rule(back=st.integers(0, 12), resource_back=st.integers(0, 12))
    def reconcile_with_old_view(self, back: int, resource_back: int) -> None:
        self.world.reconcile_with_old_view(self.key, back=back, resource_back=resource_back)

    @happening(seconds=st.sampled_from([1, 61, 1801, 7200, 90000]))
    def time_passes(self, seconds: int) -> None:
        self.world.advance(seconds)

    @precondition(lambda self: unfinished(self.world))
    @happening(percent=st.integers(0, 100), loss=st.none() | st.floats(0, 9))
    def training_goes_on(self, percent: int, loss: float | None) -> None:
        """Argo tells of it, and its log too, where that can be read."""
        run = unfinished(self.world)[0]
        train = node(self.world, "train", "Running", progress=f"{percent}/100")
        working(self.world, run, train)
        told = TrainingProgress(done=percent, total=100, loss=loss or 0.0).line()
        printed = {f"{run['metadata']['name']}-train-0": told}
        self.world.cluster.logs = {} if loss is None else printed

    @precondition(lambda self: unfinished(self.world))
    @happening(verdict=st.sampled_from(["Promote", "Reject", "AskPerson"]))
    def run_is_done(self, verdict: str) -> None:
        self.number += 1
        version = "" if verdict == "Reject" else str(self.number)
        finish_run(self.world, unfinished(self.world)[0], verdict, version)

    @precondition(lambda self: unfinished(self.world))
    @happening(step=st.sampled_from(["select", "train"]), code=st.sampled_from([1, 75]))
    def run_fails(self, step: str, code: int) -> None:
        fail(self.world, unfinished(self.world)[0], step, code)

    @precondition(lambda self: unfinished(self.world))
    @happening()
    def run_ends_without_a_word(self) -> None:
        end(self.world, unfinished(self.world)[0], "Error")

    @precondition(lambda self: unfinished(self.world, "nexus-release"))
    @happening(well=st.booleans())
    def move_ends(self, *, well: bool) -> None:
        move = unfinished(self.world, "nexus-release")[0]
        if well:
            finish_move(self.world, move)
        else:
            fail(self.world, move, parameters(move)["action"])

    @precondition(lambda self: unfinished(self.world, COUNT))
    @happening(
        examples=st.sampled_from([5, 4, 9, 0]),
        digest=st.sampled_from("ab"),
        well=st.sampled_from([True, True, True, False]),
    )
    def count_ends(self, examples: int, digest: str, *, well: bool) -> None:
        count = unfinished(self.world, COUNT)[0]
        if not well:
            fail(self.world, count, "count")
            return
        finish_count(self.world, count, examples, digest=digest)
        if examples >= TRIGGERS[-1]["newData"]["minExamples"]:  # type: ignore[index]
            self.reached.add(f"new-data:{digest}")

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
                    {
                        "pinnedVersion": st.sampled_from([None, None, "1", "2"]),
                        "mode": st.sampled_from(["Auto", "Auto", "Manual"]),
                        "servingModelRef": st.just({"name": "assistant"}),
                    }
                ),
            },
        )
    )
    def spec_changes(self, spec: dict[str, Any]) -> None:
        self.world.patch(self.key, {"spec": spec})

    @happening(value=st.sampled_from([None, None, "drift: far", "audit"]))
    def promotions_are_stopped_or_let_go(self, value: str | None) -> None:
        self.world.patch(self.key, {"metadata": {"annotations": {PROMOTION_BLOCKED: value}}})

    @precondition(lambda self: self.world.workflows())
    @happening(data=st.data())
    def somebody_deletes_a_workflow(self, data: st.DataObject) -> None:
        self.world.delete(data.draw(st.sampled_from(self.world.workflows())))

    @precondition(lambda self: (self.world.get(self.key.ref) or {}).get("status"))
    @happening()
    def status_is_lost(self) -> None:
        self.asked.clear()  # what was answered is not known any more
        cleared = dict.fromkeys(self.world.the(self.key)["status"])
        self.world.run(
            self.world.cluster.patch(self.key.ref, {"status": cleared}, subresource="status")
        )

    @invariant()
    def one_run_at_a_time_and_no_move_twice(self) -> None:
        """Two moves for two requests, which an old view may make, wait for each other: a mutex."""
        assert len(unfinished(self.world)) <= 1
        asked = [parameters(one)["request"] for one in unfinished(self.world, "nexus-release")]
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
    def enough_new_examples_start_one_run(self) -> None:
        """Only what a count found, and the same examples once."""
        for run in runs(self.world):
            request, uid = parameters(run)["request"], run["metadata"]["uid"]
            if request.startswith("new-data:"):
                assert request in self.reached
                assert self.asked.setdefault(request, uid) == uid

    @invariant()
    def the_status_can_be_read(self) -> None:
        found = self.world.the(self.key)
        FineTuneJob.model_validate(found)
        FineTuneJobStatus.model_validate(found.get("status") or {})

    @invariant()
    def what_waits_is_no_champion_and_is_what_a_person_is_told_of(self) -> None:
        status = job_status(self.world, self.key)
        waits, champion = status.get("challenger"), status.get("champion") or {}
        if waits:
            assert waits["version"] != champion.get("version")
            asks = self.world.condition(self.key, "AwaitingApproval")
            if asks.get("status") == "True":
                assert f"--version {waits['version']}`" in asks["message"]

    def released_by_the_gate(self) -> set[str]:
        """The runs for which a release was made whose word is the gate's."""
        asked = [parameters(one) for one in runs(self.world, "nexus-release")]
        return {one["request"].removeprefix("gate:") for one in asked if one["by"] == "gate"}

    def come_to_rest(self) -> None:
        """Whatever there was: once Workflows end, nothing is written any more."""
        self.world.patch(self.key, {"spec": {"triggers": None}})
        for _ in range(8):
            self.world.settle(self.key)
            kinds = ("nexus-finetune", "nexus-release", COUNT)
            open_ones = [one for kind in kinds for one in unfinished(self.world, kind)]
            if not open_ones and not self.world.reconcile(self.key).writes:
                break
            for one in open_ones:
                end(self.world, one, "Failed")
            self.world.advance(5)
        else:
            raise AssertionError("runs are started again and again")
        assert self.world.reconcile(self.key).writes == 0

    def go(self) -> None:
        """Whatever there was: it is deleted, and what its runs wrote goes with it."""
        ran = bool(runs(self.world)) or bool(job_status(self.world, self.key).get("lastRun"))
        self.world.delete(self.key)
        assert let_go(self.world, self.key) or not ran
        assert self.world.workflows() == []


JobWorld.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    phases=[Phase.reuse, Phase.generate],
)
TestJobWorld = pytest.mark.timeout(1500)(JobWorld.TestCase)
