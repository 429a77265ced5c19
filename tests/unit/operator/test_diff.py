"""What counts as a difference worth a write."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_operator.reconcile.diff import holds, needs_apply, stamped, status_patch

WANTED: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "a", "namespace": "default", "labels": {"x": "1"}},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"x": "1"}},
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "c",
                        "args": ["--a", "b"],
                        "env": [{"name": "N", "value": "1"}],
                        "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}},
                    }
                ],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            }
        },
    },
}


def seen(**replaced: Any) -> dict[str, Any]:
    """WANTED as the server holds it: with defaults, other fields and rewritten quantities."""
    held = copy.deepcopy(stamped(WANTED))
    held["metadata"] |= {"uid": "u", "resourceVersion": "7"}
    held["spec"] |= {"revisionHistoryLimit": 10, **replaced}
    container = held["spec"]["template"]["spec"]["containers"][0]
    container |= {"imagePullPolicy": "IfNotPresent"}
    container["resources"]["requests"] = {"cpu": "0.5", "memory": "0.5Gi"}
    container["env"].append({"name": "THEIRS", "value": "2"})
    held["spec"]["template"]["spec"]["volumes"][0].pop("emptyDir")
    return held


def test_what_the_server_adds_is_no_difference() -> None:
    assert not needs_apply(WANTED, seen())


def test_what_is_not_there_is_applied() -> None:
    assert needs_apply(WANTED, None)


@pytest.mark.parametrize(
    "drift",
    [
        {"replicas": 3},
        {"selector": {"matchLabels": {"x": "1", "extra": "1"}}},
        {"selector": None},
    ],
)
def test_drift_is_a_difference(drift: dict[str, Any]) -> None:
    assert needs_apply(WANTED, seen(**drift))


def test_changed_argument_is_a_difference() -> None:
    held = seen()
    held["spec"]["template"]["spec"]["containers"][0]["args"].append("--more")
    assert needs_apply(WANTED, held)


def test_field_that_is_no_longer_wanted_is_a_difference() -> None:
    less = copy.deepcopy(WANTED)
    del less["spec"]["replicas"]
    assert needs_apply(less, seen())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
STATUS = st.dictionaries(
    st.text(max_size=3), JSON.filter(lambda value: value is not None), max_size=4
)


@given(JSON)
def test_everything_holds_itself(value: Any) -> None:
    assert holds(value, copy.deepcopy(value))


@given(STATUS)
def test_same_status_needs_no_patch(status: dict[str, Any]) -> None:
    assert status_patch(status, copy.deepcopy(status)) == {}


def test_status_patch_clears_what_is_none_and_leaves_what_is_not_named() -> None:
    present = {"url": "http://a", "theirs": 1, "documents": {"total": 1, "old": 2}}
    wanted = {"url": None, "gone": None, "documents": {"total": 2}}
    assert status_patch(present, wanted) == {"url": None, "documents": {"total": 2, "old": None}}
