"""Labels, owner references and metadata that all children share."""

from nexus_api.meta import (
    API_VERSION,
    MANAGED_BY,
    NAMESPACE_LABEL,
    PART_OF,
    Manifest,
    Resource,
)


def labels(owner: Resource, *, owner_label: str, component: str) -> dict[str, str]:
    """Return the labels of a child; `owner_label` is one of `llmops.nexus/{index,model,job}`."""
    return {
        "app.kubernetes.io/name": f"nexus-{component}",
        "app.kubernetes.io/instance": owner.metadata.name,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": PART_OF,
        "app.kubernetes.io/managed-by": MANAGED_BY,
        owner_label: owner.metadata.name,
        NAMESPACE_LABEL: owner.metadata.namespace,
    }


def owner_reference(owner: Resource, kind: str) -> Manifest:
    """Return the reference by which a child in the owner's namespace goes with its owner."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": owner.metadata.name,
        "uid": owner.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
