"""A cluster in memory for unit tests; it passes the contract suite in tests/contract/cluster."""

import asyncio
import copy
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from nexus_api.meta import API_VERSION, Manifest
from nexus_api.validation import Invalid as Refused
from nexus_api.validation import UnknownKind, admit
from nexus_operator.cluster.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Invalid,
    KindMissing,
    NotFound,
    Unavailable,
)
from nexus_operator.cluster.protocol import FIELD_MANAGER, Manifests, Ref, WatchEvent
from nexus_operator.objects import labels_of, owner_uids, ref_of

KINDS = {
    ("v1", kind)
    for kind in ("ConfigMap", "Secret", "Service", "Pod", "Event", "PersistentVolumeClaim")
} | {
    ("apps/v1", "Deployment"),
    ("argoproj.io/v1alpha1", "Workflow"),
    ("argoproj.io/v1alpha1", "EventSource"),
    ("argoproj.io/v1alpha1", "Sensor"),
    ("policy/v1", "PodDisruptionBudget"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
}
WITH_GENERATION = {"Deployment", "RagIndex", "ServingModel", "FineTuneJob"}
FIRST_VERSION = 100
ATOMIC = {"selector", "matchLabels", "nodeSelector"}
SERVER_FIELDS = ("uid", "resourceVersion", "creationTimestamp", "generation", "deletionTimestamp")


class FakeCluster:
    """Objects by reference; every version is kept, so that old views can be replayed."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(tz=UTC)) -> None:
        self.clock = clock
        self.objects: dict[Ref, Manifest] = {}
        self.history: list[tuple[WatchEvent, Ref]] = []
        self.writes: Counter[str] = Counter()
        self.refuse: Callable[[Manifest], str | None] = lambda _manifest: None
        self.missing: set[str] = set()
        self.forbidden: set[str] = set()
        """What RBAC does not grant: `list Workflow`, `delete Workflow`, `log Pod`."""
        self.logs: dict[str, str] = {}
        """What pods printed, by their names."""
        self.answers: dict[str, bytes] = {}
        """What pods answer, by their URLs."""
        self._applied: dict[str, dict[str, Manifest]] = {}
        self._uids = 0
        self._changed = asyncio.Event()

    # -- the protocol

    async def get(self, ref: Ref) -> Manifest | None:
        self._check_kind(ref.api_version, ref.kind)
        self._check_granted("get", ref.kind)
        return copy.deepcopy(self.objects.get(ref))

    async def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Manifests:
        self._check_kind(api_version, kind)
        self._check_granted("list", kind)
        return [
            copy.deepcopy(one)
            for ref, one in sorted(self.objects.items())
            if (ref.api_version, ref.kind) == (api_version, kind)
            and namespace in {None, ref.namespace}
            and (labels or {}).items() <= labels_of(one).items()
        ]

    async def create(self, manifest: Manifest) -> Manifest:
        ref = ref_of(manifest)
        self._check_kind(ref.api_version, ref.kind)
        self._check_granted("create", ref.kind)
        if ref in self.objects:
            raise AlreadyExists(f"{ref} already exists")
        return self._insert(ref, {k: v for k, v in manifest.items() if k != "status"})

    async def apply(
        self, manifest: Manifest, *, manager: str = FIELD_MANAGER, force: bool = True
    ) -> Manifest:
        ref = ref_of(manifest)
        self._check_kind(ref.api_version, ref.kind)
        wanted = copy.deepcopy({k: v for k, v in manifest.items() if k != "status"})
        live = self.objects.get(ref)
        if live is None:
            if wanted["metadata"].get("uid"):
                raise Conflict(
                    f"{ref} is not there, so it is not the one with the uid that was sent"
                )
            made = self._insert(ref, wanted)
            self._applied[made["metadata"]["uid"]] = {manager: wanted}
            return made
        for field in ("resourceVersion", "uid"):
            if wanted["metadata"].get(field, live["metadata"][field]) != live["metadata"][field]:
                raise Conflict(f"{ref}: {field} is stale")
        uid = live["metadata"]["uid"]
        applied = self._applied.setdefault(uid, {})
        before = applied.get(manager, {})
        theirs: Manifest = {}
        for who, fields in applied.items():
            theirs = theirs if who == manager else _overlay(theirs, fields)
        if not force and _overlay(theirs, wanted) != _overlay(wanted, theirs):
            raise Conflict(f"Apply failed with conflicts on {ref}")
        left = _without(copy.deepcopy(live), before, _overlay(theirs, wanted))
        merged = _overlay(left, wanted)
        _merge_finalizers(merged, live, before, wanted)
        applied[manager] = wanted
        if ref.kind == "Deployment":
            merged["spec"].setdefault("replicas", 1)  # as the server defaults what is left out
        return self._replace(ref, merged)

    async def patch(self, ref: Ref, patch: Manifest, *, subresource: str = "") -> Manifest:
        self._check_kind(ref.api_version, ref.kind)
        live = self.objects.get(ref)
        if live is None:
            raise NotFound(f"{ref} is not there")
        if subresource and ref.kind == "Workflow":
            raise NotFound("workflows have no status subresource")
        version = (patch.get("metadata") or {}).get("resourceVersion")
        if version not in {None, live["metadata"]["resourceVersion"]}:
            raise Conflict(f"{ref} has changed since version {version}")
        merged = merge_patch(live, patch)
        if subresource == "status":
            merged = {**live, "status": merged.get("status", {})}
        return self._replace(ref, merged, subresource)

    async def delete(self, ref: Ref, *, uid: str | None = None) -> None:
        self._check_kind(ref.api_version, ref.kind)
        self._check_granted("delete", ref.kind)
        live = self.objects.get(ref)
        if live is None:
            return
        if uid not in {None, live["metadata"]["uid"]}:
            raise Conflict(f"{ref} is another object now")
        if live["metadata"].get("finalizers"):
            if "deletionTimestamp" not in live["metadata"]:
                going = {"metadata": {"deletionTimestamp": self._at()}}
                self._store("MODIFIED", ref, merge_patch(live, going))
            return
        self._remove(ref)

    async def log(self, pod: Ref, *, container: str, lines: int) -> str:
        self._check_granted("log", pod.kind)
        if pod.name not in self.logs:
            raise NotFound(f"{pod} is not there")
        return "".join(self.logs[pod.name].splitlines(keepends=True)[-lines:])

    async def ask(self, url: str) -> bytes:
        if url not in self.answers:
            raise Unavailable(f"{url}: nobody answers")
        return self.answers[url]

    async def watch(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        since: str | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        position = len(self.history) if since is None else int(since) - FIRST_VERSION
        if since is None:
            for one in await self.list(api_version, kind, namespace=namespace):
                yield WatchEvent("ADDED", one)
        while True:
            while position < len(self.history):
                event, ref = self.history[position]
                position += 1
                wanted = (ref.api_version, ref.kind) == (api_version, kind)
                if wanted and namespace in {None, ref.namespace}:
                    yield copy.deepcopy(event)
            changed = self._changed
            await changed.wait()

    # -- for tests

    def as_of(self, position: int) -> dict[Ref, Manifest]:
        """The objects as they were after the first `position` changes."""
        then: dict[Ref, Manifest] = {}
        for event, ref in self.history[:position]:
            if event.type == "DELETED":
                then.pop(ref, None)
            else:
                then[ref] = event.object
        return copy.deepcopy(then)

    # -- inside

    def _insert(self, ref: Ref, manifest: Manifest) -> Manifest:
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", ref.name):
            raise Invalid(f"{ref}: metadata.name: Invalid value: {ref.name!r}")
        admitted = self._admit(manifest, None)
        self._uids += 1
        admitted["metadata"] |= {
            "uid": f"00000000-0000-0000-0000-{self._uids:012}",
            "creationTimestamp": self._at(),
        }
        if ref.kind in WITH_GENERATION:
            admitted["metadata"]["generation"] = 1
        return self._store("ADDED", ref, admitted)

    def _replace(self, ref: Ref, manifest: Manifest, subresource: str = "") -> Manifest:
        live = self.objects[ref]
        manifest = copy.deepcopy(manifest)
        for field in SERVER_FIELDS:
            manifest["metadata"].pop(field, None)
            if field in live["metadata"]:
                manifest["metadata"][field] = live["metadata"][field]
        new = set(manifest["metadata"].get("finalizers") or ())
        if "deletionTimestamp" in live["metadata"]:
            if new - set(live["metadata"].get("finalizers") or ()):
                raise Invalid(f"{ref}: metadata.finalizers: no new finalizer while deleting")
            if not new:
                return self._remove(ref)
        admitted = self._admit(manifest, live, subresource)
        if admitted == live:
            return copy.deepcopy(live)
        if ref.kind in WITH_GENERATION and admitted.get("spec") != live.get("spec"):
            admitted["metadata"]["generation"] += 1
        return self._store("MODIFIED", ref, admitted)

    def _admit(self, manifest: Manifest, old: Manifest | None, subresource: str = "") -> Manifest:
        manifest = copy.deepcopy(manifest)
        reason = self.refuse(manifest)
        if reason:
            raise Invalid(f"{ref_of(manifest)}: {reason}")
        if manifest["apiVersion"] == API_VERSION:
            try:
                return admit(manifest, old, subresource="status" if subresource else "")
            except Refused as problem:
                raise Invalid(str(problem)) from problem
            except UnknownKind as problem:
                raise NotFound(str(problem)) from problem
        same = old is None or manifest["kind"] != "Deployment"
        if not same and old is not None and manifest["spec"]["selector"] != old["spec"]["selector"]:
            raise Invalid(f"{ref_of(manifest)}: spec.selector: field is immutable")
        return manifest

    def _store(self, kind: Any, ref: Ref, manifest: Manifest) -> Manifest:
        manifest["metadata"]["resourceVersion"] = self._next_version()
        self.objects[ref] = manifest
        self._tell(WatchEvent(kind, copy.deepcopy(manifest)), ref)
        return copy.deepcopy(manifest)

    def _remove(self, ref: Ref) -> Manifest:
        gone = self.objects.pop(ref)
        gone["metadata"]["resourceVersion"] = self._next_version()
        self._tell(WatchEvent("DELETED", copy.deepcopy(gone)), ref)
        for other, one in list(self.objects.items()):
            if gone["metadata"]["uid"] in owner_uids(one):
                self._remove(other)
        return gone

    def _next_version(self) -> str:
        return str(FIRST_VERSION + len(self.history) + 1)

    def _tell(self, event: WatchEvent, ref: Ref) -> None:
        self.writes[ref.kind] += 1
        self.history.append((event, ref))
        self._changed.set()
        self._changed = asyncio.Event()

    def _at(self) -> str:
        return self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")

    def _check_granted(self, verb: str, kind: str) -> None:
        if f"{verb} {kind}" in self.forbidden:
            raise Forbidden(f'the operator may not {verb} {kind}s in the namespace "nexus-system"')

    def _check_kind(self, api_version: str, kind: str) -> None:
        if kind in self.missing:
            raise KindMissing(f"there is no kind {kind} in {api_version}")
        ours = api_version == API_VERSION and kind in WITH_GENERATION
        if not ours and (api_version, kind) not in KINDS:
            raise NotFound(f"there is no kind {kind} in {api_version}")


def merge_patch(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def _without(live: Any, before: Any, now: Any) -> Any:
    """Take out of `live` what was applied before and is not applied now."""
    for key, value in before.items():
        if key not in now:
            if isinstance(value, dict) and isinstance(live.get(key), dict):
                _without(live[key], value, {})
                if not live[key]:
                    del live[key]
            else:
                live.pop(key, None)
        elif all(isinstance(part, dict) for part in (value, now[key], live.get(key))):
            _without(live[key], value, now[key])
    return live


def _overlay(live: Any, wanted: Any, field: str = "") -> Any:
    if not isinstance(wanted, dict) or not isinstance(live, dict) or field in ATOMIC:
        return copy.deepcopy(wanted)
    return {**live, **{k: _overlay(live.get(k), v, k) for k, v in wanted.items()}}


def _merge_finalizers(merged: Manifest, live: Manifest, before: Manifest, now: Manifest) -> None:
    ours = set((before.get("metadata") or {}).get("finalizers") or ())
    theirs = [f for f in live["metadata"].get("finalizers") or () if f not in ours]
    wanted = now["metadata"].get("finalizers") or ()
    merged["metadata"]["finalizers"] = [*theirs, *(f for f in wanted if f not in theirs)]
    if not merged["metadata"]["finalizers"]:
        del merged["metadata"]["finalizers"]
