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


@pytest.mark.parametrize(
    ("field", "wanted", "stored"),
    [
        ("averageValue", "1000", "1k"),
        ("sizeLimit", "8192Mi", "8Gi"),
        ("sizeLimit", "8589934592.0", "8589934592"),
        ("limits", {"memory": "1024Ti"}, {"memory": "1Pi"}),
        ("requests", {"storage": "1000P"}, {"storage": "1E"}),
        ("requests", {"cpu": "1e3"}, {"cpu": "1000"}),
    ],
)
def test_a_quantity_in_other_words_is_no_difference(field: str, wanted: Any, stored: Any) -> None:
    """The API server stores quantities in their canonical form."""
    assert holds({field: wanted}, {field: stored})


def test_an_empty_value_of_a_variable_may_be_dropped() -> None:
    """The server does so; a chart that offers no folders gives pods one."""
    assert holds({"env": [{"name": "A", "value": ""}]}, {"env": [{"name": "A"}]})
    assert not holds({"env": [{"name": "A", "value": ""}]}, {"env": []})
    assert not holds({"env": [{"name": "A", "value": ""}]}, {"env": [{"name": "A", "value": "b"}]})


@pytest.mark.parametrize("stored", ["9Gi", None, "much"])
def test_another_quantity_is_a_difference(stored: str | None) -> None:
    assert not holds({"sizeLimit": "8Gi"}, {"sizeLimit": stored})


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
