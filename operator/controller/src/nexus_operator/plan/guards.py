"""What stands around a model's revisions on a cluster: its guards, and the claim of its cache."""

from collections.abc import Mapping
from typing import Any

from nexus_api.meta import Manifest
from nexus_api.servingmodel import ServingModel
from nexus_operator.build.cache import claim, claim_name
from nexus_operator.build.guards import (
    GUARDS,
    autoscaler,
    disruption_budget,
    guard_name,
    network_policy,
)
from nexus_operator.build.loading import adapters_name
from nexus_operator.objects import owner_uids
from nexus_operator.plan.model import Doomed, Seen, doomed
from nexus_operator.settings import Settings


def wanted_guards(model: ServingModel, revision: str, settings: Settings) -> tuple[Manifest, ...]:
    """Return the guards of a model of which `revision` answers, or is to answer first."""
    if not settings.on_kubernetes:
        return ()
    always = (network_policy(model, settings), disruption_budget(model))
    if model.spec.autoscaling is None:
        return always
    return (*always, autoscaler(model, revision))


def needless_guards(model: ServingModel, seen: Seen) -> tuple[Doomed, ...]:
    """Return the autoscaler of a model that no longer asks for one."""
    found = guard(model, seen, "HorizontalPodAutoscaler")
    gone = found is not None and model.spec.autoscaling is None
    return doomed([found]) if found is not None and gone else ()


def guard(model: ServingModel, seen: Seen, kind: str) -> Manifest | None:
    """Return one guard of the model as it was seen, None when it is not there or not ours."""
    found = seen.child(kind, guard_name(model))
    return found if found is not None and model.metadata.uid in owner_uids(found) else None


def foreign(model: ServingModel, seen: Seen) -> Manifest | None:
    """Return an object of somebody else's that has a name which the model needs."""
    names = {
        "Service": model.metadata.name,
        "ConfigMap": adapters_name(model),
        **dict.fromkeys(GUARDS, guard_name(model)),
    }
    for kind, name in names.items():
        found = seen.child(kind, name)
        if found is not None and model.metadata.uid not in owner_uids(found):
            return found
    return None


def missing_claim(
    model: ServingModel, template: Manifest, seen: Seen, settings: Settings
) -> tuple[Manifest, ...]:
    """Return the model's own claim when its pods mount it and it is not there.

    A claim is made once and not changed after: its class and its mode could not be, anyway.
    """
    name = claim_name(model)
    if not _mounts(template, name) or seen.child("PersistentVolumeClaim", name) is not None:
        return ()
    return (claim(model, settings.model_cache),)


def _mounts(template: Mapping[str, Any], name: str) -> bool:
    volumes = template["spec"].get("volumes") or []
    claims = (one.get("persistentVolumeClaim") or {} for one in volumes)
    return any(one.get("claimName") == name for one in claims)
