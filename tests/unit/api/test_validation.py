"""Admission beyond the corpus: updates, status writes, messages, and what is left unchanged."""

import copy
import subprocess
import sys
from typing import Any

import pytest

from nexus_api import cel
from nexus_api.kinds import UnknownKind
from nexus_api.meta import API_VERSION, Manifest
from nexus_api.validation import Invalid, Malformed, admit, validate


def index(spec: Any = None, **metadata: Any) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": "RagIndex",
        "metadata": {"name": "x", **metadata},
        "spec": {} if spec is None else spec,
    }


def test_message_names_field_value_and_rule_as_the_api_server_does() -> None:
    with pytest.raises(Invalid) as caught:
        admit(index({"chunking": {"overlapTokens": 300}}))
    assert str(caught.value) == (
        'RagIndex "x" is invalid: spec.chunking.overlapTokens: Invalid value: 300: '
        "must be smaller than maxTokens (256)"
    )
    assert (caught.value.code, caught.value.reason) == (422, "Invalid")


def test_unknown_field_is_a_strict_decoding_error() -> None:
    with pytest.raises(Malformed) as caught:
        admit(index({"foo": 1}))
    assert 'strict decoding error: unknown field "spec.foo"' in str(caught.value)
    assert (caught.value.code, caught.value.reason) == (400, "BadRequest")


def test_all_problems_are_told_at_once() -> None:
    problems = validate(index({"chunking": {"maxTokens": 5}, "sync": {"parallelism": 99}}))
    assert [problem.field for problem in problems] == [
        "spec.chunking.maxTokens",
        "spec.chunking.overlapTokens",
        "spec.sync.parallelism",
    ]


def test_unknown_kind_names_those_that_are_known() -> None:
    with pytest.raises(UnknownKind, match=r'no matches for kind "Pod".*RagIndex'):
        validate({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}})
    with pytest.raises(UnknownKind):
        validate({"apiVersion": API_VERSION, "kind": ["RagIndex"]})


def test_argument_is_never_changed() -> None:
    manifest = index({"chunking": None, "source": {"include": ["a"]}})
    before = copy.deepcopy(manifest)
    admit(manifest)
    assert manifest == before


def test_create_drops_status_and_update_keeps_the_stored_one() -> None:
    manifest = index() | {"status": {"chunks": 5}}
    stored = admit(manifest)
    assert "status" not in stored
    stored["status"] = {"chunks": 7}
    assert admit(manifest, stored)["status"] == {"chunks": 7}


def test_status_write_takes_status_and_keeps_the_spec() -> None:
    stored = admit(index({"retrieval": {"topK": 3}}))
    written = index({"retrieval": {"topK": 9}}) | {"status": {"chunks": 5}}
    after = admit(written, stored, subresource="status")
    assert after["status"] == {"chunks": 5}
    assert after["spec"]["retrieval"]["topK"] == 3


@pytest.mark.parametrize(
    ("status", "field", "fragment"),
    [
        ({"chunks": -1}, "status.chunks", "should be greater than or equal to 0"),
        ({"lastSyncTime": "yesterday"}, "status.lastSyncTime", "in body must be of type date-time"),
        ({"lastSyncTime": ""}, "status.lastSyncTime", "in body must be of type date-time"),
        ({"lastSyncTime": "2026-13-01T00:00:00Z"}, "status.lastSyncTime", "of type date-time"),
        ({"conditions": [5]}, "status.conditions[0]", "must be an object for an array of list"),
        ({"lastSyncTime": 5}, "status.lastSyncTime", 'must be of type date-time: "int64"'),
        ({"conditions": [{"type": "Ready"}]}, "status.conditions[0].status", "Required value"),
        (
            {"conditions": [CONDITION := {"type": "Ready", "status": "True", "reason": "Ok"}] * 2},
            "status.conditions[0].lastTransitionTime",
            "Required value",
        ),
    ],
)
def test_bad_status_is_refused(status: Any, field: str, fragment: str) -> None:
    stored = admit(index())
    problems = validate(index() | {"status": status}, old=stored, subresource="status")
    assert any(p.field == field and fragment in str(p) for p in problems), problems


def test_condition_that_stands_twice_is_refused() -> None:
    condition = CONDITION | {"lastTransitionTime": "2026-01-01T00:00:00Z"}
    written = index() | {"status": {"conditions": [condition, condition]}}
    problems = validate(written, old=admit(index()), subresource="status")
    assert [str(p) for p in problems] == [
        'status.conditions[1]: Duplicate value: {"type":"Ready"}',
    ]


def test_what_was_stored_under_an_older_schema_can_still_be_changed_elsewhere() -> None:
    stored = admit(index())
    stored["spec"]["retrieval"]["topK"] = 1000
    stored["spec"]["sync"]["interval"] = "1s"
    wanted = copy.deepcopy(stored)
    wanted["spec"]["chunking"]["maxTokens"] = 128
    assert validate(wanted, old=stored) == []
    wanted["spec"]["retrieval"]["topK"] = 1001
    wanted["spec"]["sync"]["interval"] = "2s"
    fields = [problem.field for problem in validate(wanted, old=stored)]
    assert fields == ["spec.retrieval.topK", "spec.sync.interval"]


def test_transition_rule_runs_on_updates_only() -> None:
    job: Manifest = {
        "apiVersion": API_VERSION,
        "kind": "FineTuneJob",
        "metadata": {"name": "x"},
        "spec": {"baseModel": {"uri": "hf://org/a"}, "data": {"files": {}}},
    }
    stored = admit(job)
    assert validate(job, old=stored) == []
    job["spec"]["baseModel"]["uri"] = "hf://org/b"
    assert [problem.field for problem in validate(job, old=stored)] == ["spec.baseModel.uri"]


def test_no_finalizer_is_added_to_what_is_being_deleted() -> None:
    stored = admit(index(finalizers=["a/b"], deletionTimestamp="2026-01-01T00:00:00Z"))
    wanted = copy.deepcopy(stored)
    wanted["metadata"]["finalizers"] = ["a/b", "c/d"]
    assert [p.field for p in validate(wanted, old=stored)] == ["metadata.finalizers"]
    wanted["metadata"]["finalizers"] = []
    assert validate(wanted, old=stored) == []


@pytest.mark.parametrize("field", ["name", "namespace", "uid"])
def test_identity_cannot_be_changed(field: str) -> None:
    stored = admit(index(namespace="a", uid="1"))
    wanted = copy.deepcopy(stored)
    wanted["metadata"][field] = "other"
    assert [str(p) for p in validate(wanted, old=stored)] == [
        f'metadata.{field}: Invalid value: "other": field is immutable'
    ]


@pytest.mark.parametrize("metadata", [5, "x", [], {"name": ["x"]}, {"finalizers": [1]}])
def test_metadata_of_a_wrong_type_is_malformed(metadata: Any) -> None:
    with pytest.raises(Malformed, match="cannot unmarshal"):
        admit(index() | {"metadata": metadata or ["x"]})


@pytest.mark.parametrize(
    "rule", ["self.all(x, x > 1)", "foo == 1", "self.x.lowerAscii() == 'a'", "1.5 < 2.0 ? {} : {}"]
)
def test_rule_outside_the_subset_is_refused(rule: str) -> None:
    with pytest.raises(cel.UnsupportedRule):
        cel.program(rule)


def test_text_that_is_no_cel_is_refused() -> None:
    with pytest.raises(cel.UnsupportedRule, match="is no CEL"):
        cel.program("self.")


def test_rule_that_fails_to_run_is_a_problem_and_not_a_crash() -> None:
    schema = {
        "type": "object",
        "x-kubernetes-validations": [{"rule": "self.a > 1", "message": "a must be large"}],
    }
    (problem,) = cel.broken_rules({}, schema, "spec")
    assert "no such member" in problem.message
    assert problem.message.endswith("evaluating rule: a must be large")


def test_import_is_light() -> None:
    code = "import nexus_api.validation, sys; print('celpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "False"
