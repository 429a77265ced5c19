"""Conditions change when the world does, and only then."""

from datetime import timedelta

from small_world import NOON

from nexus_operator.status.conditions import Finding, merge, transitions

LATER = NOON + timedelta(minutes=5)


def ready(*, holds: bool, reason: str = "Because") -> Finding:
    return Finding("Ready", holds, reason, "A sentence.")


def test_transition_time_moves_only_with_the_status() -> None:
    first = merge([], [ready(holds=False)], generation=1, now=NOON)
    second = merge(first, [ready(holds=False, reason="Other")], generation=2, now=LATER)
    assert second[0]["lastTransitionTime"] == first[0]["lastTransitionTime"]
    assert (second[0]["reason"], second[0]["observedGeneration"]) == ("Other", 2)
    third = merge(second, [ready(holds=True)], generation=2, now=LATER)
    assert third[0]["lastTransitionTime"] == "2026-01-31T12:05:00Z"


def test_conditions_of_others_stay_and_ready_comes_first() -> None:
    theirs = {"type": "Audited", "status": "True", "reason": "R", "lastTransitionTime": "t"}
    merged = merge([theirs], [ready(holds=True)], generation=1, now=NOON)
    assert [one["type"] for one in merged] == ["Ready", "Audited"]
    assert merged[1] == theirs


def test_dropped_type_goes() -> None:
    first = merge([], [ready(holds=True)], generation=1, now=NOON)
    assert merge(first, [], generation=1, now=NOON, drop=frozenset({"Ready"})) == []


def test_trouble_is_a_warning_and_its_end_is_not() -> None:
    calm = merge([], [Finding("Degraded", False, "Healthy", "")], generation=1, now=NOON)
    bad = merge(calm, [Finding("Degraded", True, "SyncFailed", "")], generation=1, now=NOON)
    assert transitions([], calm) == (), "that nothing is wrong at first is no news"
    assert [one.warning for one in transitions(calm, bad)] == [True]
    assert [one.warning for one in transitions(bad, calm)] == [False]
    assert transitions(bad, bad) == ()


def test_work_that_goes_on_is_no_warning() -> None:
    starting = merge([], [ready(holds=False, reason="Starting")], generation=1, now=NOON)
    assert [one.warning for one in transitions([], starting)] == [False]
    broken = merge([], [ready(holds=False, reason="CrashLoopBackOff")], generation=1, now=NOON)
    assert [one.warning for one in transitions(starting, broken)] == [True]
