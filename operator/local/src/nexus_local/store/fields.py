"""Field ownership for server-side apply, and JSON merge patch; pure functions on manifests.

A simple form of the API server's: lists are owned as a whole, except finalizers (by value) and
owner references (by uid), and so are the maps that its schema calls atomic.  The source is the
Kubernetes documentation of server-side apply.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from nexus_api.meta import Manifest

Path: TypeAlias = tuple[str, ...]
Managed: TypeAlias = dict[str, set[Path]]
"""The fields that each manager applied last."""

_IDENTITY = frozenset(
    {
        "name",
        "generateName",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "managedFields",
        "selfLink",
    }
)
_WHOLE: tuple[Path, ...] = (
    ("spec", "selector"),
    ("spec", "nodeSelector"),
    ("spec", "template", "spec", "nodeSelector"),
)
"""Maps with `x-kubernetes-map-type: atomic`: one more label selects other pods or nodes."""
_ABSENT = object()


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386) and return the result; the arguments stay as they are."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def applied_fields(manifest: Manifest, *, status: bool) -> Manifest:
    """Return what of an applied manifest can be owned: no identity, no nulls, status if asked."""
    body = {
        key: value
        for key, value in manifest.items()
        if key not in {"apiVersion", "kind", "metadata"} and (status or key != "status")
    }
    metadata = {k: v for k, v in manifest.get("metadata", {}).items() if k not in _IDENTITY}
    wanted: Manifest = _keyed(_without_nulls({"metadata": metadata, **body}))
    return wanted if wanted["metadata"] else {k: v for k, v in wanted.items() if k != "metadata"}


def leaves(value: Any, path: Path = ()) -> Iterable[Path]:
    """Yield the paths of everything that is not a non-empty map."""
    if isinstance(value, dict) and (value or not path):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    else:
        yield path


def merged(live: Manifest, applied: Manifest, dropped: Iterable[Path]) -> Manifest:
    """Return `live` without the `dropped` fields and with all of `applied` (see applied_fields)."""
    result = _keyed(copy.deepcopy(live))
    for path in dropped:
        _remove(result, path)
    return _listed(_overlay(result, applied))


def contested(managed: Managed, manager: str, live: Manifest, applied: Manifest) -> list[Path]:
    """Return the fields which another manager applied and which `applied` would change."""
    now = _keyed(live)
    wanted = set(leaves(applied))
    return sorted(
        path
        for other, paths in managed.items()
        if other != manager
        for path in paths & wanted
        if _at(now, path) != _at(applied, path)
    )


def still_owned(managed: Managed, before: Manifest, after: Manifest) -> Managed:
    """Return what stays owned after a plain write: who changes a field takes it over."""
    old, new = _keyed(before), _keyed(after)
    kept = {
        manager: {path for path in paths if _at(old, path) == _at(new, path)}
        for manager, paths in managed.items()
    }
    return {manager: paths for manager, paths in kept.items() if paths}


def _keyed(manifest: Manifest) -> Manifest:
    """Return the manifest with its sets turned into maps, and its atomic maps into one value."""
    metadata = dict(manifest.get("metadata") or {})
    if "finalizers" in metadata:
        metadata["finalizers"] = dict.fromkeys(metadata["finalizers"] or (), True)
    if "ownerReferences" in metadata:
        # One opaque value for each reference: its own fields are not owned one by one.
        metadata["ownerReferences"] = {
            ref.get("uid", ""): [ref] for ref in metadata["ownerReferences"] or ()
        }
    keyed: Manifest = {**manifest, "metadata": metadata}
    for path in _WHOLE:
        if isinstance(value := _at(keyed, path), dict):
            keyed = _put(keyed, path, [value])
    return keyed


def _listed(manifest: Manifest) -> Manifest:
    """Undo `_keyed`."""
    metadata = manifest["metadata"]
    if "finalizers" in metadata:
        metadata["finalizers"] = list(metadata["finalizers"])
    if "ownerReferences" in metadata:
        metadata["ownerReferences"] = [ref[0] for ref in metadata["ownerReferences"].values()]
    for key in ("finalizers", "ownerReferences"):
        if not metadata.get(key, True):
            del metadata[key]
    for path in _WHOLE:
        match _at(manifest, path):
            case [dict() as value]:
                manifest = _put(manifest, path, value)
    return manifest


def _put(target: Mapping[str, Any], path: Path, value: Any) -> Manifest:
    """Return `target` with another value at a path that it has; `target` stays as it is."""
    key, *below = path
    return {**target, key: _put(target[key], tuple(below), value) if below else value}


def _overlay(target: Any, applied: Any) -> Any:
    if not isinstance(applied, dict):
        return copy.deepcopy(applied)
    result = target if isinstance(target, dict) else {}
    for key, value in applied.items():
        result[key] = _overlay(result.get(key), value)
    return result


def _remove(target: Manifest, path: Path) -> None:
    """Remove the value at `path` and the maps which that leaves empty."""
    parents: list[Manifest] = []
    here: Any = target
    for key in path[:-1]:
        if not isinstance(here, dict) or key not in here:
            return
        parents.append(here)
        here = here[key]
    if not isinstance(here, dict):
        return
    if isinstance(here.get(path[-1]), dict) and here[path[-1]]:
        return  # an empty map was applied and others have filled it since
    here.pop(path[-1], None)
    for parent, key in zip(reversed(parents), reversed(path[:-1]), strict=True):
        if parent[key] or key == "metadata":
            return
        del parent[key]


def _at(value: Any, path: Path) -> Any:
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return _ABSENT
        value = value[key]
    return value


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value
