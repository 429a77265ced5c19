"""The plan of a rollout, as laws over every way in which pods may come up."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_local.node import rollout

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
Manifest = dict[str, Any]


def deployment(version: str, replicas: int, strategy: Manifest | None = None) -> Manifest:
    labels = {"app": "x"}
    return {
        "metadata": {"name": "x", "namespace": "default", "uid": "u", "generation": 1},
        "spec": {
            "replicas": replicas,
            "strategy": strategy or {},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "m", "image": version}]},
            },
        },
    }


def pod(version: str, number: int, *, ready: bool, deleting: bool = False) -> Manifest:
    made = rollout.pod_of(deployment(version, 1), str(number))
    made["metadata"]["creationTimestamp"] = f"2026-01-31T12:00:{number:02d}Z"
    if deleting:
        made["metadata"]["deletionTimestamp"] = "2026-01-31T12:01:00Z"
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    made["status"] = {"conditions": [condition]}
    return made


strategies = st.sampled_from(
    [
        {},
        {"type": "Recreate"},
        {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}},
        {"rollingUpdate": {"maxSurge": "50%", "maxUnavailable": "50%"}},
        {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}},
    ]
)
pods = st.lists(
    st.tuples(st.sampled_from(["old", "older", "new"]), st.booleans(), st.booleans()), max_size=7
)


@given(strategies, st.integers(0, 4), pods, st.randoms(use_true_random=False))
def test_every_rollout_ends_with_what_is_wanted(
    strategy: Manifest, replicas: int, start: list[tuple[str, bool, bool]], chance: Any
) -> None:
    wanted = deployment("new", replicas, strategy)
    there = [
        pod(version, number, ready=ready, deleting=deleting)
        for number, (version, ready, deleting) in enumerate(start)
    ]
    numbers = iter(range(20, 1000))
    for _ in range(60):
        step = rollout.plan(wanted, there)
        names = [one["metadata"]["name"] for one in there]
        assert set(step.delete) <= set(names)
        assert len(set(step.delete)) == len(step.delete)
        for one in there:
            if one["metadata"]["name"] in step.delete:
                one["metadata"]["deletionTimestamp"] = "2026-01-31T12:01:00Z"
        there += [pod("new", next(numbers), ready=False) for _ in range(step.create)]
        # The world moves: new pods become ready (old ones that are not never do), ending ones end.
        for one in there:
            if rollout.is_current(wanted, one) and chance.random() < 0.7:
                one["status"]["conditions"][0]["status"] = "True"
        there = [
            one
            for one in there
            if "deletionTimestamp" not in one["metadata"] or chance.random() < 0.3
        ]
    assert rollout.plan(wanted, there) == rollout.Rollout(0, ())
    staying = [one for one in there if "deletionTimestamp" not in one["metadata"]]
    assert len(staying) == replicas
    assert all(rollout.is_current(wanted, one) for one in staying)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 3))
def test_default_rollout_never_takes_away_what_serves(old: int, wanted: int, coming: int) -> None:
    there = [pod("old", number, ready=True) for number in range(old)]
    there += [pod("new", 10 + number, ready=False) for number in range(min(coming, wanted))]
    step = rollout.plan(deployment("new", wanted), there)
    left = [one for one in there if one["metadata"]["name"] not in step.delete]
    serving = sum(one["status"]["conditions"][0]["status"] == "True" for one in left)
    assert serving >= min(old, wanted - wanted // 4)


def test_recreate_waits_for_the_end_of_the_old() -> None:
    wanted = deployment("new", 1, {"type": "Recreate"})
    ending = pod("old", 1, ready=True, deleting=True)
    assert rollout.plan(wanted, [ending]) == rollout.Rollout(0, ())
    assert rollout.plan(wanted, []).create == 1


def test_scaling_down_ends_what_does_not_serve_then_the_youngest() -> None:
    there = [pod("new", number, ready=number != 1) for number in range(4)]
    step = rollout.plan(deployment("new", 2), there)
    assert step.delete == (there[1]["metadata"]["name"], there[3]["metadata"]["name"])


def test_deployment_that_is_being_deleted_makes_no_pods() -> None:
    wanted = deployment("new", 3)
    wanted["metadata"]["deletionTimestamp"] = "2026-01-31T12:01:00Z"
    assert rollout.plan(wanted, []) == rollout.Rollout(0, ())


@pytest.mark.parametrize(
    ("seconds", "reason"), [(0, "ReplicaSetUpdated"), (601, "ProgressDeadlineExceeded")]
)
def test_status_says_whether_it_moves_on(seconds: int, reason: str) -> None:
    wanted = deployment("new", 1)
    there = [pod("new", 1, ready=False)]
    wanted["status"], later = rollout.status(wanted, there, NOW)
    assert later == 600
    after, _ = rollout.status(wanted, there, NOW + timedelta(seconds=seconds))
    progressing = next(c for c in after["conditions"] if c["type"] == "Progressing")
    assert progressing["reason"] == reason


@given(pods, st.integers(0, 3))
def test_status_of_an_unchanged_world_is_unchanged(
    start: list[tuple[str, bool, bool]], replicas: int
) -> None:
    wanted = deployment("new", replicas)
    there = [
        pod(version, number, ready=ready, deleting=deleting)
        for number, (version, ready, deleting) in enumerate(start)
    ]
    wanted["status"], _ = rollout.status(wanted, there, NOW)
    again, _ = rollout.status(wanted, there, NOW + timedelta(seconds=5))
    assert again == wanted["status"]
