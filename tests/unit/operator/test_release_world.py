"""Whatever happens in whatever order, no gate moves a champion over a stop, twice, or again."""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from small_world import World, happening
from tuning import (
    fail,
    fine_tune_job,
    finish_move,
    finish_run,
    job_status,
    model_of_champion,
    parameters,
    release_report,
    runs,
    unfinished,
)

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import PROMOTE_REQUESTED, PROMOTION_BLOCKED, RUN_REQUESTED

AUTO = {"mode": "Auto", "servingModelRef": {"name": "assistant"}}
SETTINGS = [
    {**AUTO, "mode": mode, "pinnedVersion": pin}
    for mode, pin in [("Auto", None), ("Auto", None), ("Manual", None), ("Auto", "1")]
]


class ReleaseWorld(RuleBasedStateMachine):
    """The operator may be away for any time (no turn is taken), or look at what is long past."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.create(model_of_champion())
        self.key = self.world.create(fine_tune_job(promotion=AUTO))
        self.number = 0
        self.asked: set[str] = set()  # runs whose version waits for a person
        self.world.settle(self.key)

    def teardown(self) -> None:
        try:
            self.what_may_be_released_is()
        finally:
            self.world.close()

    @rule()
    def reconcile(self) -> None:
        job = FineTuneJob.model_validate(self.world.the(self.key))
        before = self.by_the_gate()
        self.world.reconcile(self.key)
        more = [one for one in self.by_the_gate() if one not in before]
        decided = FineTuneJob.model_validate(self.world.the(self.key)).status.last_decision
        if decided is not None and decided.verdict == "AskPerson":
            self.asked.add(decided.run)
        if more:
            assert not job.metadata.annotations.get(PROMOTION_BLOCKED), "a stop stands"
            assert job.spec.promotion.mode == "Auto"
            assert job.spec.promotion.pinned_version is None
            assert not self.asked & {one.removeprefix("gate:") for one in more}

    @rule(back=st.integers(0, 6), resource_back=st.integers(0, 6))
    def the_operator_sees_the_past(self, back: int, resource_back: int) -> None:
        self.world.reconcile_with_old_view(self.key, back=back, resource_back=resource_back)

    @happening(
        what=st.sampled_from(["run", "run", "run", "move", "stop", "go", "told", "ask", "person"]),
        verdict=st.sampled_from(["Promote", "Promote", "Promote", "AskPerson", "Reject"]),
        promotion=st.sampled_from(SETTINGS),
        well=st.booleans(),
    )
    def something_happens(
        self, what: str, verdict: str, promotion: dict[str, Any], *, well: bool
    ) -> None:
        """One rule for all: with one for each, a world that is drawn often lacks some of them."""
        self.world.advance(5)
        if what == "run":
            self.a_run_ends(verdict)
        elif what == "move":
            self.a_move_ends(well=well)
        elif what in {"stop", "go"}:
            self.annotate(PROMOTION_BLOCKED, "drift: far" if what == "stop" else None)
        elif what == "told":
            self.world.patch(self.key, {"spec": {"promotion": promotion}})
        elif what == "ask":
            self.annotate(RUN_REQUESTED, f"ada-{self.number % 3}")
        else:
            self.annotate(PROMOTE_REQUESTED, f"1 by ada {self.number}")

    def a_run_ends(self, verdict: str) -> None:
        for run in unfinished(self.world):
            self.number += 1
            version = "" if verdict == "Reject" else str(self.number)
            finish_run(self.world, run, verdict, version)

    def a_move_ends(self, *, well: bool) -> None:
        for move in unfinished(self.world, "nexus-release"):
            if well:
                finish_move(self.world, move)
            else:
                fail(self.world, move, "release")

    def annotate(self, name: str, value: str | None) -> None:
        self.world.patch(self.key, {"metadata": {"annotations": {name: value}}})

    @invariant()
    def no_run_is_released_twice_by_the_gate(self) -> None:
        found = self.by_the_gate()
        assert len(set(found)) == len(found)

    def by_the_gate(self) -> list[str]:
        moves = [parameters(one) for one in runs(self.world, "nexus-release")]
        return [one["request"] for one in moves if one["by"] == "gate"]

    def what_may_be_released_is(self) -> None:
        """Once nothing is in the way, the next run that passes is released by itself."""
        self.annotate(PROMOTION_BLOCKED, None)
        self.world.patch(self.key, {"spec": {"promotion": SETTINGS[0]}})
        for _ in range(6):
            self.world.settle(self.key)
            if moves := unfinished(self.world, "nexus-release"):
                self.world.advance(5)
                finish_move(self.world, moves[0])
            elif found := unfinished(self.world):
                self.world.advance(5)
                finish_run(self.world, found[0], "Reject")
        self.annotate(RUN_REQUESTED, "last")
        self.world.settle(self.key)
        self.world.advance(60)
        [run] = unfinished(self.world)
        finish_run(self.world, run, "Promote", "999")
        self.world.settle(self.key)
        [move] = unfinished(self.world, "nexus-release")
        assert (parameters(move)["version"], parameters(move)["by"]) == ("999", "gate")
        self.world.advance(5)
        finish_move(self.world, move, release_report("999")["previous"])
        self.world.settle(self.key)
        assert job_status(self.world, self.key)["champion"]["version"] == "999"


ReleaseWorld.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    phases=[Phase.reuse, Phase.generate],
)
TestReleaseWorld = pytest.mark.timeout(1500)(ReleaseWorld.TestCase)
