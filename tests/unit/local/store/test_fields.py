"""Merge patch and field ownership, as laws."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nexus_local.store import fields

keys = st.sampled_from("abcd")
values = st.recursive(
    st.integers(0, 3) | st.lists(st.integers(0, 2), max_size=2),
    lambda inner: st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
specs = st.dictionaries(keys, values, max_size=4)


def manifest(spec: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "x"}, "spec": spec}


def apply(
    live: dict[str, Any], managed: fields.Managed, manager: str, spec: dict[str, Any]
) -> dict[str, Any]:
    """One forced apply, as the store does it; `managed` is brought up to date."""
    applied = fields.applied_fields(manifest(spec), status=True)
    wanted = set(fields.leaves(applied))
    others = {path for who, paths in managed.items() if who != manager for path in paths}
    after = fields.merged(live, applied, managed.get(manager, set()) - wanted - others)
    kept = fields.still_owned(managed, live, after)
    managed.clear()
    managed.update({**kept, manager: wanted})
    return after


def has(value: Any, path: fields.Path) -> bool:
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True


@given(specs, specs)
def test_merge_patch_to_itself_is_idempotent_and_pure(
    target: dict[str, Any], patch: dict[str, Any]
) -> None:
    before = copy.deepcopy(target)
    once = fields.merge_patch(target, patch)
    assert target == before
    assert fields.merge_patch(once, patch) == once
    assert fields.merge_patch({}, target) == target


def test_merge_patch_follows_the_examples_of_the_rfc() -> None:
    assert fields.merge_patch({"a": "b"}, {"a": "c"}) == {"a": "c"}
    assert fields.merge_patch({"a": "b"}, {"a": None}) == {}
    assert fields.merge_patch({"a": [{"b": "c"}]}, {"a": [1]}) == {"a": [1]}
    assert fields.merge_patch({"e": None}, {"a": 1}) == {"e": None, "a": 1}
    assert fields.merge_patch({}, {"a": {"bb": {"ccc": None}}}) == {"a": {"bb": {}}}
    assert fields.merge_patch([1, 2], {"a": "b", "c": None}) == {"a": "b"}


@given(specs, specs)
def test_one_manager_alone_gets_what_it_applied_last(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    managed: fields.Managed = {}
    live = apply(manifest({}), managed, "me", first)
    live = apply(live, managed, "me", second)
    there = {path for path in fields.leaves(live["spec"]) if path} if "spec" in live else set()
    asked = {path for path in fields.leaves(second) if path}
    for path in asked:
        assert has(live["spec"], path)
    # Nothing beyond it stays, except maps that hold nothing.
    for path in there - asked:
        value: Any = live["spec"]
        for key in path:
            value = value[key]
        assert value == {}


@given(specs, specs, specs)
def test_apply_is_idempotent_beside_another_manager(
    theirs: dict[str, Any], first: dict[str, Any], second: dict[str, Any]
) -> None:
    managed: fields.Managed = {}
    live = apply(manifest({}), managed, "them", theirs)
    live = apply(live, managed, "me", first)
    live = apply(live, managed, "me", second)
    owned = copy.deepcopy(managed)
    assert apply(live, managed, "me", second) == live
    assert managed == owned


def test_last_of_several_appliers_keeps_a_field_alive() -> None:
    managed: fields.Managed = {}
    live = apply(manifest({}), managed, "them", {"a": 1})
    live = apply(live, managed, "me", {"a": 1, "b": 2})
    live = apply(live, managed, "me", {})
    assert live["spec"] == {"a": 1}


def test_an_atomic_map_is_owned_as_one_and_leaves_no_key_behind() -> None:
    live = manifest({"selector": {"app": "web", "by-hand": "1"}, "ports": [1]})
    before = copy.deepcopy(live)
    managed: fields.Managed = {}
    after = apply(live, managed, "ours", {"selector": {"app": "web", "gone": None}})
    assert live == before
    assert after["spec"] == {"selector": {"app": "web"}, "ports": [1]}
    assert managed == {"ours": {("spec", "selector")}}
    assert apply(after, managed, "ours", {"selector": {"app": "web"}}) == after
    applied = fields.applied_fields(manifest({"selector": {"app": "db"}}), status=True)
    assert fields.contested(managed, "theirs", after, applied) == [("spec", "selector")]
    assert apply(after, managed, "ours", {})["spec"] == {"ports": [1]}


def test_a_store_of_before_owns_the_keys_of_an_atomic_map_and_loses_none() -> None:
    live = manifest({"selector": {"app": "web"}})
    managed: fields.Managed = {"ours": {("spec", "selector", "app")}}
    after = apply(live, managed, "ours", {"selector": {"app": "web"}})
    assert after == live
    assert managed == {"ours": {("spec", "selector")}}
