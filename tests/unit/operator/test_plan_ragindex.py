"""What a person sees of an index as its syncs come and go."""

import json
from contextlib import suppress
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from small_world import World, rag_index, report

from nexus_api.meta import FINALIZER, FORCE_RELEASE, SYNC_REQUESTED
from nexus_operator.cluster.errors import Conflict
from nexus_operator.objects import annotations_of, name_of
from nexus_operator.plan.schedule import back_off
from nexus_operator.reconcile import carry_out
from nexus_operator.settings import Settings
from nexus_operator.status.runs import ATTEMPT, CAUSE


class Killed(Exception):
    """The operator dies here."""


def parameters(workflow: dict[str, Any]) -> dict[str, str]:
    listed = workflow["spec"]["arguments"]["parameters"]
    return {one["name"]: one["value"] for one in listed}


def synced_index(world: World, **spec: Any) -> Any:
    """An index whose first sync has ended well."""
    key = world.create(rag_index(**spec))
    world.settle(key)
    world.end_run(world.workflows()[0], "Succeeded")
    world.settle(key)
    return key


def running(world: World) -> dict[str, Any]:
    (found,) = [one for one in world.workflows() if not (one.get("status") or {}).get("phase")]
    return found


def test_finalizer_goes_on_before_the_first_run(world: World) -> None:
    key = world.create(rag_index())
    world.reconcile(key)
    assert world.the(key)["metadata"]["finalizers"] == [FINALIZER]
    kinds = [ref.kind for _, ref in world.cluster.history if ref.kind != "Event"]
    assert kinds == ["RagIndex", "RagIndex", "Workflow", "RagIndex"]
    finalizers = [event.object["metadata"].get("finalizers") for event, _ in world.cluster.history]
    assert finalizers[1] == [FINALIZER]
    assert annotations_of(running(world))[CAUSE] == "first"
    assert world.condition(key)["reason"] == "Syncing"
    assert world.condition(key, "Synced")["message"].endswith("is running: it is the first.")


def test_in_a_hurry_a_new_index_gets_its_run_first_and_its_status_at_the_next_call(
    world: World,
) -> None:
    key = world.create(rag_index())
    result = world.reconcile(key, hurry=True)
    assert (result.requeue_after, result.writes) == (timedelta(0), 2)
    assert world.the(key)["metadata"]["finalizers"] == [FINALIZER]
    assert "status" not in world.the(key)
    name = name_of(running(world))
    assert world.reconcile(key, hurry=True).writes == 1
    assert world.the(key)["status"]["lastSyncRun"] == name
    assert world.condition(key)["reason"] == "Syncing"
    assert world.reconcile(key, hurry=True).writes == 0


def test_what_is_refused_shows_even_in_a_hurry(world: World) -> None:
    world.cluster.refuse = lambda one: "over quota" if one["kind"] == "Workflow" else None
    key = world.create(rag_index())
    world.reconcile(key, hurry=True)
    assert "over quota" in world.condition(key, "Refused")["message"]


@pytest.mark.parametrize("hurry", [False, True])
def test_who_has_an_old_view_of_a_new_index_starts_nothing(world: World, *, hurry: bool) -> None:
    key = world.create(rag_index())
    world.patch(key, {"spec": {"chunking": {"maxTokens": 128}}})
    world.reconcile_with_old_view(key, back=1, resource_back=1, hurry=hurry)
    assert world.workflows() == []
    assert "finalizers" not in world.the(key)["metadata"]


def test_index_is_ready_when_its_first_sync_has_made_a_collection(world: World) -> None:
    key = synced_index(world)
    ready = world.condition(key)
    assert (ready["status"], ready["reason"]) == ("True", "Searchable")
    assert ready["message"] == "Questions are answered from 42 chunks of 5 documents."
    status = world.the(key)["status"]
    assert status["documents"] == {"total": 5, "indexed": 5, "failed": 0, "pending": 0}
    assert status["activeCollection"].startswith("default_handbook_")
    assert status["lastSyncTime"] == "2026-01-31T12:00:00Z"
    assert world.condition(key, "Synced")["status"] == "True"
    assert world.condition(key, "Degraded")["status"] == "False"


def test_interval_brings_the_next_look_and_keeps_synced(world: World) -> None:
    key = synced_index(world, sync={"interval": "5m"})
    wait = world.reconcile(key).requeue_after
    assert wait is not None
    assert wait.total_seconds() == 300
    world.advance(299)
    assert world.reconcile(key).writes == 0
    world.advance(1)
    world.reconcile(key)
    assert annotations_of(running(world))[CAUSE] == "interval"
    synced = world.condition(key, "Synced")
    assert (synced["status"], synced["reason"]) == ("True", "Checking")
    told = len(world.all("Event"))
    world.end_run(running(world), "Succeeded")
    world.settle(key)
    assert world.condition(key, "Synced")["reason"] == "UpToDate"
    assert len(world.all("Event")) == told, "a look that finds nothing is no news"


def test_request_during_a_run_gets_a_run_of_its_own(world: World) -> None:
    key = synced_index(world)
    world.annotate(key, SYNC_REQUESTED, "upload-1")
    world.settle(key)
    first = running(world)
    assert parameters(first)["request"] == "upload-1"
    world.annotate(key, SYNC_REQUESTED, "upload-2")
    world.settle(key)
    assert running(world)["metadata"]["uid"] == first["metadata"]["uid"]
    world.end_run(first, "Succeeded")
    world.settle(key)
    assert parameters(running(world))["request"] == "upload-2"
    assert world.condition(key, "Synced")["reason"] == "Running"


def test_changed_chunking_builds_beside_what_answers(world: World) -> None:
    key = synced_index(world)
    world.patch(key, {"spec": {"chunking": {"maxTokens": 128}}})
    world.settle(key)
    assert annotations_of(running(world))[CAUSE] == "changed"
    ready = world.condition(key)
    assert ready["status"] == "True"
    assert "a new collection is built beside this one" in ready["message"]


def test_changed_retrieval_starts_no_run(world: World) -> None:
    key = synced_index(world)
    world.patch(key, {"spec": {"retrieval": {"topK": 9}}})
    world.settle(key)
    assert len(world.workflows()) == 1


def test_failed_run_is_tried_again_later_and_later(world: World) -> None:
    key = world.create(rag_index())
    world.settle(key)
    for attempt, wait in ((1, 10), (2, 20), (3, 40)):
        run = running(world)
        assert annotations_of(run)[ATTEMPT] == str(attempt)
        world.end_run(run, "Failed")
        world.settle(key)
        ready = world.condition(key)
        assert (ready["status"], ready["reason"]) == ("False", "Failed")
        assert "step `plan`: Error (exit code 1). The next sync starts at" in ready["message"]
        world.advance(wait - 1)
        assert world.reconcile(key).writes == 0
        world.advance(1)
        world.settle(key)
    assert annotations_of(running(world))[CAUSE] == "retry"
    assert back_off(60).total_seconds() == 600


def test_transient_failure_says_that_a_dependency_does_not_answer(world: World) -> None:
    key = synced_index(world)
    world.annotate(key, SYNC_REQUESTED, "1")
    world.settle(key)
    world.end_run(running(world), "Failed", exit_code=75)
    world.settle(key)
    assert world.condition(key, "Synced")["reason"] == "DependencyUnavailable"
    assert world.condition(key, "Degraded")["status"] == "True"
    assert world.condition(key)["status"] == "True", "what is indexed stays searchable"


def test_failed_documents_degrade_and_name_the_command(world: World) -> None:
    key = world.create(rag_index())
    world.settle(key)
    world.end_run(running(world), "Succeeded", failed=1)
    world.settle(key)
    degraded = world.condition(key, "Degraded")
    assert degraded["reason"] == "DocumentsFailed"
    assert degraded["message"] == (
        "1 document of 6 could not be indexed; "
        "`nexus documents --index handbook -n default --failed` tells why."
    )
    assert world.condition(key, "Synced")["status"] == "True"


@pytest.mark.parametrize("text", ["{", "[]", '{"documents": {}}', '{"documents": 3}'])
def test_unreadable_report_is_a_failed_run(world: World, text: str) -> None:
    key = world.create(rag_index())
    world.settle(key)
    world.end_run(running(world), "Succeeded", report=text)
    world.settle(key)
    assert world.condition(key, "Synced")["reason"] == "BadReport"


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"source": {"suspend": True}}, "Suspended"),
        ({"source": {"prefix": "elsewhere/"}}, "PrefixOutsideNamespace"),
        ({"source": {"bucket": "mine", "secretRef": {"name": "s"}}}, "BucketNotOffered"),
    ],
)
def test_what_hinders_syncs_is_said(world: World, spec: dict[str, Any], reason: str) -> None:
    key = world.create(rag_index(**spec))
    world.settle(key)
    assert world.workflows() == []
    assert world.condition(key)["reason"] == reason
    assert world.condition(key, "Synced")["message"].endswith(".")


def test_a_bucket_of_ones_own_is_read_in_the_platforms_namespace(world: World) -> None:
    own = rag_index(source={"bucket": "mine", "secretRef": {"name": "mine-keys"}})
    own["metadata"]["namespace"] = Settings().platform_namespace
    key = world.create(own)
    world.settle(key)
    parameters = running(world)["spec"]["arguments"]["parameters"]
    assert {"name": "sourceSecret", "value": "mine-keys"} in parameters


def test_runs_beyond_those_kept_go(world: World) -> None:
    key = synced_index(world, retention={"runsKept": 2})
    for request in "abcd":
        world.advance(5)
        world.annotate(key, SYNC_REQUESTED, request)
        world.settle(key)
        world.end_run(running(world), "Succeeded")
        world.settle(key)
    assert sorted(parameters(one)["request"] for one in world.workflows()) == ["c", "d"]


def test_deletion_stops_syncs_then_tears_down_then_lets_go(world: World) -> None:
    key = world.create(rag_index(retention={"deletionPolicy": "Retain"}))
    world.settle(key)
    world.delete(key)
    world.reconcile(key)
    assert world.workflows() == []
    world.settle(key)
    teardown = running(world)
    assert teardown["spec"]["workflowTemplateRef"]["name"] == "nexus-teardown"
    assert parameters(teardown)["policy"] == "Retain"
    world.end_run(teardown, "Succeeded")
    world.reconcile(key)
    assert world.get(key.ref) is None
    assert world.workflows() == []


def test_what_a_stopped_sync_wrote_is_removed_when_its_pod_has_ended(world: World) -> None:
    key = world.create(rag_index())
    world.settle(key)
    pod = world.start_pod(running(world))
    world.delete(key)
    world.settle(key)
    assert world.workflows() == []
    assert f"when the pod {name_of(pod)} of a run has ended" in world.condition(key)["message"]
    world.set_status(pod, {"phase": "Failed"})
    world.settle(key)
    assert running(world)["spec"]["workflowTemplateRef"]["name"] == "nexus-teardown"


def test_killed_between_the_end_of_its_teardown_and_its_release(world: World) -> None:
    key = synced_index(world)
    world.delete(key)
    world.settle(key)
    world.end_run(running(world), "Succeeded")
    with mock.patch.object(carry_out, "_set_finalizers", side_effect=Killed), suppress(Killed):
        world.reconcile(key)
    assert world.workflows() == []  # nothing tells any more that the teardown ran, but the status
    world.reconcile(key)
    assert world.get(key.ref) is None
    assert world.workflows() == []


def test_a_child_that_could_not_be_deleted_holds_the_release_up(world: World) -> None:
    key = synced_index(world)
    world.delete(key)
    world.settle(key)
    world.end_run(running(world), "Succeeded")
    busy = Conflict("the object is being changed by somebody else")
    with mock.patch.object(world.cluster, "delete", side_effect=busy), pytest.raises(Conflict):
        world.reconcile(key)
    assert world.get(key.ref) is not None
    world.reconcile(key)
    assert world.get(key.ref) is None
    assert world.workflows() == []


def test_failing_teardown_says_how_to_let_go(world: World) -> None:
    key = synced_index(world)
    world.delete(key)
    world.settle(key)
    world.end_run(running(world), "Failed")
    world.settle(key)
    ready = world.condition(key)
    assert ready["reason"] == "TeardownFailed"
    assert f'setting its annotation {FORCE_RELEASE} to "true".' in ready["message"]
    world.annotate(key, FORCE_RELEASE, "true")
    world.reconcile(key)
    assert world.get(key.ref) is None


def test_index_made_again_waits_for_the_runs_of_the_former_one(world: World) -> None:
    key = world.create(rag_index())
    world.settle(key)
    orphan = running(world)
    world.annotate(key, FORCE_RELEASE, "true")
    world.patch(key, {"metadata": {"finalizers": None}})
    world.delete(key)
    world.create(rag_index())
    world.reconcile(key)
    world.reconcile(key)
    assert name_of(orphan) not in {name_of(one) for one in world.workflows()}
    world.settle(key)
    assert parameters(running(world))["uid"] != parameters(orphan)["uid"]


def test_name_that_is_taken_by_somebody_else_is_said(world: World) -> None:
    key = world.create(rag_index())
    world.settle(key)
    ours = running(world)
    world.delete(ours)
    metadata = {"name": name_of(ours), "namespace": ours["metadata"]["namespace"]}
    world.create({**ours, "metadata": metadata})
    world.reconcile(key)
    refused = world.condition(key, "Refused")
    assert "is there and is not ours" in refused["message"]
    assert world.reconcile(key).writes == 0
    world.delete(ours)
    world.settle(key)
    assert world.condition(key, "Refused") == {}


def test_text_of_users_is_never_a_tag_of_the_workflow(world: World) -> None:
    prefix = "{{workflow.name}} says: "
    key = synced_index(world, embedding={"queryPrefix": prefix})
    world.annotate(key, SYNC_REQUESTED, "{{=exit()}}")
    world.settle(key)
    given = parameters(running(world))
    assert not [value for value in given.values() if "{{" in value]
    assert json.loads(given["settings"])["embedding"]["queryPrefix"] == prefix
    assert given["request"].startswith("sha256:")
    world.end_run(running(world), "Succeeded")
    world.settle(key)
    assert world.condition(key, "Synced")["status"] == "True"


def test_a_run_with_a_failed_shard_counts_what_it_published_and_is_tried_again(
    world: World,
) -> None:
    key = world.create(rag_index())
    world.settle(key)
    (run,) = world.workflows()
    parameters = {p["name"]: p["value"] for p in run["spec"]["arguments"]["parameters"]}
    told = report(parameters["fingerprint"], pending=2)
    nodes = {
        "n1": {
            "id": "n1",
            "displayName": "ingest(0)",
            "type": "Pod",
            "phase": "Failed",
            "message": "Error (exit code 1)",
        },
        "n2": {
            "id": "n2",
            "displayName": "publish",
            "type": "Pod",
            "phase": "Succeeded",
            "outputs": {"parameters": [{"name": "report", "value": told}]},
        },
    }
    at = world.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    world.set_status(run, {"phase": "Failed", "finishedAt": at, "nodes": nodes})
    world.settle(key)
    status = world.the(key)["status"]
    assert status["documents"] == {"total": 7, "indexed": 5, "failed": 0, "pending": 2}
    assert world.condition(key)["status"] == "True"
    assert "ingest(0)" in world.condition(key, "Synced")["message"]
    assert world.condition(key, "Degraded")["reason"] == "SyncFailed"
    assert len(world.workflows()) == 1
    world.advance(11)
    world.reconcile(key)
    assert len(world.workflows()) == 2
