"""Reading Kubernetes objects: plain JSON values in, the few facts that plans ask for out."""

from collections.abc import Mapping
from datetime import datetime

from nexus_api.meta import Manifest
from nexus_operator.cluster.protocol import Ref


def ref_of(manifest: Manifest) -> Ref:
    """Return where the object lives."""
    metadata = manifest.get("metadata") or {}
    return Ref(
        api_version=str(manifest.get("apiVersion", "")),
        kind=str(manifest.get("kind", "")),
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata.get("name", "")),
    )


def name_of(manifest: Manifest) -> str:
    """Return metadata.name."""
    return str(manifest["metadata"]["name"])


def uid_of(manifest: Manifest) -> str:
    """Return metadata.uid, empty for an object that was never stored."""
    return str((manifest.get("metadata") or {}).get("uid", ""))


def labels_of(manifest: Manifest) -> Mapping[str, str]:
    """Return the labels, possibly none."""
    return (manifest.get("metadata") or {}).get("labels") or {}


def annotations_of(manifest: Manifest) -> Mapping[str, str]:
    """Return the annotations, possibly none."""
    return (manifest.get("metadata") or {}).get("annotations") or {}


def owner_uids(manifest: Manifest) -> frozenset[str]:
    """Return the uids of all owners."""
    owners = (manifest.get("metadata") or {}).get("ownerReferences") or []
    return frozenset(str(owner.get("uid", "")) for owner in owners)


def is_deleting(manifest: Manifest) -> bool:
    """Return whether deletion was asked for."""
    return bool((manifest.get("metadata") or {}).get("deletionTimestamp"))


def moment(text: object) -> datetime | None:
    """Return the time that an object states, or None when it states none that can be read."""
    if not isinstance(text, str):
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else None
