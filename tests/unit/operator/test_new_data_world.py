"""Counts and runs end, are lost or seen late in any order: enough new examples start one run."""

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from small_world import World
from tuning import (
    end,
    ended,
    fail,
    fine_tune_job,
    finish_count,
    finish_run,
    parameters,
    runs,
    unfinished,
)

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import RUN_REQUESTED, Manifest

COUNT = "nexus-count"
ENOUGH = 5
TRIGGERS = {"newData": {"minExamples": ENOUGH, "checkInterval": "10m"}, "cooldown": "30m"}

# What happens, as often as it is named; after each the controller has so many turns.
HAPPENINGS = st.tuples(
    st.sampled_from(
        [
            *("few examples come", "many examples come", "many examples come"),
            *("a count ends", "a count ends", "a count ends", "the count fails"),
            *("the run reads and ends", "the run reads and ends", "the run fails unread"),
            *("an hour passes", "somebody asks", "it is suspended or goes on"),
            *("a workflow is deleted", "it is seen late", "the status is lost"),
        ]
    ),
    st.sampled_from([0, 1, 3]),
)


class Site:
    """A job, and the examples that its runs read: each is a number, and the newest is known."""

    def __init__(self) -> None:
        self.world = World()
        self.key = self.world.create(fine_tune_job(triggers=TRIGGERS))
        self.examples, self.read, self.asked = 0, 0, 0
        self.found: dict[str, int] = {}  # what counts found, by the request that it makes
        self.known: dict[str, Manifest] = {}
        self.lost, self.suspended = False, False

    def open(self, what: str) -> Manifest | None:
        return next(iter(unfinished(self.world, what)), None)

    def happens(self, what: str, turns: int) -> None:
        getattr(self, what.replace(" ", "_"))()
        for _ in range(turns):
            self.world.reconcile(self.key)
            self.check()

    def few_examples_come(self) -> None:
        self.examples += 2

    def many_examples_come(self) -> None:
        self.examples += ENOUGH

    def a_count_ends(self) -> None:
        """After the interval, in which one was made if nothing was against it."""
        self.world.advance(660)
        self.world.reconcile(self.key)
        self.check()
        self.the_count_ends()

    def the_count_ends(self) -> None:
        if (count := self.open(COUNT)) is not None:
            digest = f"{self.read}-{self.examples}"
            self.found[f"new-data:{digest}"] = self.examples - self.read
            finish_count(self.world, count, self.examples - self.read, digest=digest)

    def the_count_fails(self) -> None:
        if (count := self.open(COUNT)) is not None:
            fail(self.world, count, "count")

    def the_run_reads_and_ends(self) -> None:
        if (run := self.open("nexus-finetune")) is not None:
            self.read = self.examples
            finish_run(self.world, run, "Reject")

    def the_run_fails_unread(self) -> None:
        if (run := self.open("nexus-finetune")) is not None:
            fail(self.world, run, "select", 75)

    def an_hour_passes(self) -> None:
        self.world.advance(3600)

    def somebody_asks(self) -> None:
        self.asked += 1
        self.world.annotate(self.key, RUN_REQUESTED, f"ada-{self.asked}")

    def it_is_suspended_or_goes_on(self) -> None:
        self.suspended = not self.suspended
        self.world.patch(self.key, {"spec": {"suspend": self.suspended}})

    def a_workflow_is_deleted(self) -> None:
        if found := self.world.workflows():
            self.world.delete(found[0])

    def it_is_seen_late(self) -> None:
        self.world.reconcile_with_old_view(self.key, back=3, resource_back=3)
        self.check()

    def the_status_is_lost(self) -> None:
        """A restore loses it, and what was answered with it."""
        self.lost = True
        cleared: dict[str, Any] = dict.fromkeys(self.world.the(self.key).get("status") or {})
        if cleared:
            status = {"status": cleared}
            self.world.run(self.world.cluster.patch(self.key.ref, status, subresource="status"))

    def check(self) -> None:
        flows = runs(self.world)
        assert sum(not ended(one) for one in flows) <= 1
        self.known |= {one["metadata"]["uid"]: one for one in flows}
        asked = Counter(parameters(one)["request"] for one in self.known.values())
        for request, times in asked.items():
            if request.startswith("new-data:"):
                assert self.found[request] >= ENOUGH, "started by too few"
                assert times == 1 or self.lost, "the same examples started two runs"
        FineTuneJob.model_validate(self.world.the(self.key))

    def come_to_rest(self) -> None:
        """Nothing new comes: whatever was found is learnt, and then nothing but counts is made."""
        self.world.patch(self.key, {"spec": {"suspend": False}})
        for _ in range(6):
            self.world.settle(self.key)
            self.check()
            self.the_run_reads_and_ends()
            self.the_count_ends()
            self.world.advance(3600)
        before = {one["metadata"]["uid"] for one in runs(self.world)}
        for _ in range(2):
            self.world.settle(self.key)
            self.the_count_ends()
            self.world.settle(self.key)
            assert self.world.reconcile(self.key).writes == 0
            self.world.advance(3600)
        assert {one["metadata"]["uid"] for one in runs(self.world)} == before
        told = self.world.the(self.key)["status"]["newData"]
        assert told["examples"] == self.examples - self.read
        unasked = f"new-data:{told['digest']}" not in self.world.the(self.key)["status"]["answered"]
        assert not unasked or told["examples"] < ENOUGH, "enough examples were left lying"


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(HAPPENINGS, min_size=6, max_size=16))
def test_enough_new_examples_start_one_run_whatever_happens(happenings: list[Any]) -> None:
    site = Site()
    try:
        for what, turns in happenings:
            site.happens(what, turns)
        event(f"runs for new data: {sum(one.startswith('new-data:') for one in requests(site))}")
        site.come_to_rest()
    finally:
        for flow in site.world.workflows():
            end(site.world, flow, "Failed")
        site.world.close()


def requests(site: Site) -> list[str]:
    return [parameters(one)["request"] for one in site.known.values()]
