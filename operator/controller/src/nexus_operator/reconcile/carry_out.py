"""Carrying out a plan: only what differs is written, and a refusal shows on the resource."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Literal, NamedTuple, TypeAlias

from nexus_api.meta import FINALIZER, Manifest
from nexus_operator.cluster.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    Forbidden,
    Invalid,
    KindMissing,
    NotFound,
)
from nexus_operator.cluster.protocol import Cluster
from nexus_operator.objects import labels_of, owner_uids, ref_of, uid_of
from nexus_operator.plan.model import Doomed, Plan, Seen
from nexus_operator.reconcile.diff import needs_apply, stamped, status_patch
from nexus_operator.reconcile.events import post_event
from nexus_operator.reconcile.handover import hand_over
from nexus_operator.status.conditions import Finding, Transition, merge

Record: TypeAlias = Callable[[Manifest, Transition, datetime], Awaitable[None]]
Hurry: TypeAlias = Callable[[], bool]
"""Tells whether other new resources wait for their first child."""

REFUSED = "Refused"
"""Condition that stands while the cluster refuses something that a plan needs."""

log = logging.getLogger(__name__)


class Refusal(NamedTuple):
    """One request that the cluster refused, and a sentence on it for a person."""

    reason: Literal["Invalid", "Forbidden"]
    message: str

    @classmethod
    def of(cls, what: object, problem: ClusterError) -> "Refusal":
        """Say which request was refused, and why."""
        reason: Literal["Invalid", "Forbidden"] = (
            "Forbidden" if isinstance(problem, Forbidden) else "Invalid"
        )
        return cls(reason, f"{what} was refused: {str(problem).rstrip('.')}.")


def never() -> bool:
    """Be in no hurry."""
    return False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What carrying out a plan came to.

    Attributes:
        writes: number of requests that changed something.
        refusals: one for each request that the cluster refused.
        unfinished: whether the status was left for later, since others were in a hurry.
    """

    writes: int = 0
    refusals: tuple[Refusal, ...] = ()
    unfinished: bool = False


async def carry_out(
    cluster: Cluster,
    resource: Manifest,
    plan: Plan,
    seen: Seen,
    now: datetime,
    record: Record | None = None,
    hurry: Hurry = never,
) -> Outcome:
    """Do what the plan says with two writes to the resource, and a third for an annotation.

    Events are handed to `record`; without one they are posted before it returns.  While there is a
    `hurry`, a new resource gets its finalizer and its first run, and its status at the next call.

    Raises Conflict when the resource has changed since it was read, and other ClusterErrors.
    """
    ref = ref_of(resource)
    writes = 0
    refusals = [Refusal("Forbidden", plan.withheld)] if plan.withheld else []
    if plan.add_finalizer:
        wanted_finalizers = [*_finalizers(resource), FINALIZER]
        resource = await _set_finalizers(cluster, resource, wanted_finalizers)
        writes += 1 + await _create_all(cluster, plan, refusals)
        if plan.create and not refusals and hurry():
            return Outcome(writes=writes, unfinished=True)
    writes += await _ask_all(cluster, plan, refusals)
    known = bool(resource.get("status"))
    guarded = plan.add_finalizer
    resource, written = await _write_status(cluster, resource, plan, guarded=guarded)
    writes += written
    if plan.annotate:
        resource = await _patch_metadata(cluster, resource, {"annotations": dict(plan.annotate)})
        writes += 1
    if not guarded:
        writes += await _create_all(cluster, plan, refusals)
    writes += await _apply_all(cluster, plan, seen, refusals)
    deleted, kept = await _delete_all(cluster, plan, refusals)
    writes += deleted
    for event in plan.events if written else ():
        if not known and not event.warning:
            continue  # a new resource starts well: that is no news
        await (record or partial(post_event, cluster))(resource, event, now)
    if plan.remove_finalizer and not kept:
        others = [name for name in _finalizers(resource) if name != FINALIZER]
        await _set_finalizers(cluster, resource, others)
        return Outcome(writes=writes + 1)
    writes += await _show_refusals(cluster, resource, refusals, now)
    if refusals:
        log.warning("%s: %s", ref, " ".join(one.message for one in refusals))
    return Outcome(writes=writes, refusals=tuple(refusals))


async def _ask_all(cluster: Cluster, plan: Plan, refusals: list[Refusal]) -> int:
    """Annotate other resources; one that went away meanwhile needs nothing."""
    writes = 0
    for ref, annotation, value in plan.notes:
        try:
            await cluster.patch(ref, {"metadata": {"annotations": {annotation: value}}})
        except NotFound:
            continue
        except Invalid as problem:
            refusals.append(Refusal.of(f"The annotation of {ref}", problem))
        else:
            writes += 1
    return writes


async def _create_all(cluster: Cluster, plan: Plan, refusals: list[Refusal]) -> int:
    """Make what is made once; a write under the version that was read has gone before."""
    writes = 0
    for wanted in plan.create:
        writes += await _attempt(_create(cluster, wanted), refusals, wanted)
    return writes


async def _apply_all(cluster: Cluster, plan: Plan, seen: Seen, refusals: list[Refusal]) -> int:
    writes = 0
    for wanted in plan.apply:
        present = seen.child(wanted["kind"], wanted["metadata"]["name"])
        if needs_apply(wanted, present):
            writes += await _attempt(_apply(cluster, wanted, present), refusals, wanted)
    return writes


async def _write_status(
    cluster: Cluster, resource: Manifest, plan: Plan, *, guarded: bool
) -> tuple[Manifest, int]:
    """Write what differs, under the version that was read; return the resource after that.

    `guarded`: another write under that version has gone before.
    """
    patch = status_patch(resource.get("status") or {}, plan.status)
    if patch or (plan.create and not guarded):
        # Before a run is made even an empty patch goes out: it fails if our view is old.
        resource = await _patch_status(cluster, resource, patch)
    return resource, 1 if patch else 0


async def _attempt(write: Awaitable[int], refusals: list[Refusal], wanted: Manifest) -> int:
    """Await one write; a refusal is kept, so that the other children still get theirs."""
    try:
        return await write
    except (Invalid, KindMissing) as problem:
        refusals.append(Refusal.of(ref_of(wanted), problem))
        return 0


async def _create(cluster: Cluster, wanted: Manifest) -> int:
    try:
        await cluster.create(wanted)
    except AlreadyExists:
        present = await cluster.get(ref_of(wanted))
        found = present or wanted
        ours = labels_of(wanted).items() <= labels_of(found).items()
        if not ours and not owner_uids(wanted) & owner_uids(found):
            raise Invalid(
                "an object of this name is there and is not ours (NameConflict)"
            ) from None
        return 0
    return 1


async def _apply(cluster: Cluster, wanted: Manifest, present: Manifest | None) -> int:
    before = await hand_over(cluster, wanted, present)
    try:
        await cluster.apply(stamped(wanted))
    except Forbidden:
        raise
    except Invalid:
        if present is None or "spec" not in wanted:
            raise
        # Items that others put into our lists stay at an apply and may clash with ours.
        await cluster.patch(ref_of(wanted), {"spec": wanted["spec"]})
        await cluster.apply(stamped(wanted))
        return before + 2
    return before + 1


async def _delete_all(cluster: Cluster, plan: Plan, refusals: list[Refusal]) -> tuple[int, bool]:
    """Return the number of writes, and whether something stays that the operator may not delete."""
    writes, kept = 0, False
    for one in plan.delete:
        try:
            writes += await _delete(cluster, one)
        except Forbidden as problem:
            kept = True
            refusals.append(Refusal.of(f"The deletion of {one.ref}", problem))
    return writes, kept


async def _delete(cluster: Cluster, one: Doomed) -> int:
    try:
        await cluster.delete(one.ref, uid=one.uid or None)
    except Conflict:
        present = await cluster.get(one.ref)
        if present is not None and uid_of(present) == one.uid:
            raise  # it is there still, so what follows its deletion has to wait
        return 0  # another object took the name: not the one that was to go
    return 1


async def _set_finalizers(cluster: Cluster, resource: Manifest, finalizers: list[str]) -> Manifest:
    return await _patch_metadata(cluster, resource, {"finalizers": finalizers})


async def _patch_metadata(cluster: Cluster, resource: Manifest, metadata: Manifest) -> Manifest:
    version = resource["metadata"].get("resourceVersion")
    patch = {"metadata": {**metadata, "resourceVersion": version}}
    ref = ref_of(resource)
    written = await cluster.patch(ref, patch)
    return {**written, "apiVersion": ref.api_version, "kind": ref.kind}


async def _patch_status(cluster: Cluster, resource: Manifest, status: Manifest) -> Manifest:
    version = resource["metadata"].get("resourceVersion")
    patch = {"metadata": {"resourceVersion": version}, "status": status}
    ref = ref_of(resource)
    written = await cluster.patch(ref, patch, subresource="status")
    return {**written, "apiVersion": ref.api_version, "kind": ref.kind}


async def _show_refusals(
    cluster: Cluster, resource: Manifest, refusals: list[Refusal], now: datetime
) -> int:
    old = (resource.get("status") or {}).get("conditions") or []
    findings = _refused(refusals)
    drop = frozenset() if refusals else frozenset({REFUSED})
    generation = int(resource["metadata"].get("generation") or 0)
    new = merge(old, findings, generation=generation, now=now, drop=drop)
    if new == old:
        return 0
    await _patch_status(cluster, resource, {"conditions": new})
    return 1


def _refused(refusals: Sequence[Refusal]) -> list[Finding]:
    """Return the condition, whose reason is that of the first refusal."""
    if not refusals:
        return []
    message = " ".join(one.message for one in refusals)
    return [Finding(REFUSED, True, refusals[0].reason, message)]


def _finalizers(resource: Manifest) -> list[str]:
    return list(resource["metadata"].get("finalizers") or [])
