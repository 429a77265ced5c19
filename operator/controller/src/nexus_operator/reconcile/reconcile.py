"""One level-triggered reconcile for all kinds: read, observe, plan, carry out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

from pydantic import ValidationError

from nexus_api.meta import API_VERSION, Manifest
from nexus_api.servingmodel import ServingModel
from nexus_operator.cluster.errors import Conflict, Forbidden, NotFound
from nexus_operator.cluster.protocol import Cluster, Ref
from nexus_operator.objects import is_deleting
from nexus_operator.plan.model import Plan, Seen
from nexus_operator.reconcile.carry_out import Hurry, Record, carry_out, never
from nexus_operator.reconcile.kinds import KINDS
from nexus_operator.reconcile.metrics import show_replicas
from nexus_operator.reconcile.witness import Witness
from nexus_operator.settings import Settings
from nexus_operator.status.conditions import Finding, merge, reason_of

Clock: TypeAlias = Callable[[], datetime]

REFUSED_LOOK = timedelta(seconds=30)
"""How soon to try again what the cluster refused: a quota may have grown meanwhile."""


class Key(NamedTuple):
    """A resource to reconcile; what happened to it is not part of the key."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """The resource as a person names it: `RagIndex default/handbook`."""
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        """Where the resource lives."""
        return Ref(API_VERSION, self.kind, self.namespace, self.name)


@dataclass(frozen=True)
class Result:
    """How a reconcile ended: when to look again, and how many writes it took."""

    requeue_after: timedelta | None = None
    writes: int = 0


async def reconcile(
    cluster: Cluster,
    key: Key,
    settings: Settings,
    clock: Clock,
    record: Record | None = None,
    hurry: Hurry = never,
) -> Result:
    """Bring one resource a step nearer to its spec; the same call for every event.

    Events are handed to `record`; without one they are posted before it returns.  While there is a
    `hurry`, the status of a new resource is left for another call, which is asked for at once.

    A resource that is not there needs nothing.  Raises Conflict when somebody else changed it in
    between (call again), and other ClusterErrors.
    """
    manifest = await cluster.get(key.ref)
    if manifest is None:
        _show(key, None)
        return Result()
    resource = {**manifest, "apiVersion": API_VERSION, "kind": key.kind}
    kind = KINDS[key.kind]
    now = clock()
    try:
        parsed = kind.parse(resource)
    except ValidationError as problem:
        plan, seen = _unreadable(resource, problem, now), Seen()
    else:
        _show(key, None if is_deleting(manifest) else parsed)
        witness = Witness(cluster)
        try:
            seen = await kind.observe(witness, parsed, settings)
        except Forbidden as problem:
            plan, seen = _withheld(resource, problem, now), Seen()
        else:
            seen = replace(seen, missing=seen.missing | witness.missing)
            plan = kind.plan(parsed, seen, settings, now)
    try:
        outcome = await carry_out(cluster, resource, plan, seen, now, record, hurry)
    except (NotFound, Conflict):
        if await cluster.get(key.ref) is None:
            return Result()  # it went away meanwhile
        raise
    wait = timedelta(0) if outcome.unfinished else plan.requeue_after
    if outcome.refusals:
        wait = REFUSED_LOOK if wait is None else min(wait, REFUSED_LOOK)
    return Result(wait, outcome.writes)


def _show(key: Key, resource: object) -> None:
    """Have the metrics tell of a model as it was read; of other kinds they tell nothing."""
    if key.kind == "ServingModel":
        model = resource if isinstance(resource, ServingModel) else None
        show_replicas(key.namespace, key.name, model)


def _unreadable(resource: Manifest, problem: ValidationError, now: datetime) -> Plan:
    """Say on the resource that this release cannot read it, and change nothing else."""
    told = "; ".join(f"{_path(error['loc'])}: {error['msg']}" for error in problem.errors())
    message = f"This release of the operator cannot read the resource: {told}."
    generation = int(resource["metadata"].get("generation") or 0)
    old = (resource.get("status") or {}).get("conditions") or []
    finding = Finding("Ready", False, "Unreadable", message)
    return Plan(status={"conditions": merge(old, [finding], generation=generation, now=now)})


def _withheld(resource: Manifest, problem: Forbidden, now: datetime) -> Plan:
    """Say on the resource what the operator may not see; what was found before stays as it is."""
    message = (
        f"The operator may not see what it needs ({str(problem).rstrip('.')}): grant its "
        "ServiceAccount the rights of the chart."
    )
    old = (resource.get("status") or {}).get("conditions") or []
    findings = [] if reason_of(old, "Ready") else [Finding("Ready", False, "Forbidden", message)]
    generation = int(resource["metadata"].get("generation") or 0)
    conditions = merge(old, findings, generation=generation, now=now)
    return Plan(status={"conditions": conditions}, withheld=message)


def _path(location: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in location)
