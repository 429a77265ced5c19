"""Which groups, versions and kinds there are, for clients that ask first (kubectl does); pure."""

from nexus_api.meta import Manifest
from nexus_local.store.kinds import KINDS, Kind

VERSION = {"major": "1", "minor": "34", "gitVersion": "v1.34.0+nexus-local", "platform": "local"}
_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


def answer(path: str) -> Manifest | None:
    """Return the discovery document at a path, None when there is none."""
    parts = path.strip("/").split("/")
    versions = {kind.api_version for kind in KINDS}
    if parts == ["api"]:
        return {"kind": "APIVersions", "versions": ["v1"]}
    if parts == ["apis"]:
        groups = [_group(version) for version in sorted(versions) if "/" in version]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    version = "/".join(parts[1:])
    if parts[0] == ("apis" if "/" in version else "api") and version in versions:
        found = [kind for kind in KINDS if kind.api_version == version]
        resources = [resource for kind in found for resource in _resources(kind)]
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": version,
            "resources": resources,
        }
    return None


def _group(api_version: str) -> Manifest:
    name, _, version = api_version.partition("/")
    served = {"groupVersion": api_version, "version": version}
    return {"name": name, "versions": [served], "preferredVersion": served}


def _resources(kind: Kind) -> list[Manifest]:
    whole = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.name,
        "verbs": _VERBS,
        "shortNames": list(kind.short_names),
    }
    status = {**whole, "name": f"{kind.plural}/status", "verbs": ["patch", "update"]}
    status.pop("shortNames")
    return [whole, status] if kind.status else [whole]
