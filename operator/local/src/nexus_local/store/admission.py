"""What an object must fulfil before it is stored, and the values that the server fills in."""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from nexus_api.meta import Manifest
from nexus_local.store.kinds import Kind
from nexus_local.store.labels import Selector
from nexus_local.store.objects import refused
from nexus_operator.cluster.errors import Invalid


def admit(
    kind: Kind, manifest: Manifest, old: Manifest | None, *, status: bool = False
) -> Manifest:
    """Return the object with defaults filled in; raises Invalid that names field, rule and value.

    old: the object as it was, for rules on changes.  status: only the status is being written.
    """
    if kind.schema:
        return _admit_ours(manifest, old, status=status)
    for field in ("spec", "status"):
        _part(kind, manifest, field)
    check = _CHECKS.get(kind.name)
    return check(kind, manifest, old) if check and not status else manifest


def _admit_ours(manifest: Manifest, old: Manifest | None, *, status: bool) -> Manifest:
    # The rules take a while to load, and a command that only reads never needs them.
    from nexus_api.validation import Invalid as Refused
    from nexus_api.validation import UnknownKind
    from nexus_api.validation import admit as admit_ours

    try:
        return admit_ours(manifest, old, subresource="status" if status else "")
    except (Refused, UnknownKind) as error:
        raise Invalid(str(error)) from error


def _part(kind: Kind, manifest: Manifest, path: str) -> Mapping[str, Any]:
    """Return the map at a path of an object, empty where there is none; raises Invalid."""
    value: Any = manifest
    for key in path.split("."):
        value = value.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise refused(kind, manifest["metadata"]["name"], path, value, "must be a map")
    return value  # type: ignore[no-any-return]


def _secret(kind: Kind, manifest: Manifest, _old: Manifest | None) -> Manifest:
    """Check that `data` is base64 and move `stringData` into it."""
    name = manifest["metadata"]["name"]
    data = dict(_part(kind, manifest, "data"))
    for key, value in data.items():
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, TypeError, ValueError):
            # The value stays out of the message: it may be a secret in plain text.
            why = "must be base64; use stringData for plain text"
            raise refused(kind, name, f"data[{key}]", "(hidden)", why) from None
    for key, value in _part(kind, manifest, "stringData").items():
        if not isinstance(value, str):
            raise refused(kind, name, f"stringData[{key}]", "(hidden)", "must be a string")
        data[key] = base64.b64encode(value.encode()).decode("ascii")
    kept = {key: value for key, value in manifest.items() if key not in {"data", "stringData"}}
    return {**kept, "data": data} if data else kept


def _config_map(kind: Kind, manifest: Manifest, _old: Manifest | None) -> Manifest:
    for key, value in _part(kind, manifest, "data").items():
        if not isinstance(value, str):
            why = "must be a string; put it in quotes"
            raise refused(kind, manifest["metadata"]["name"], f"data[{key}]", value, why)
    return manifest


def _deployment(kind: Kind, manifest: Manifest, old: Manifest | None) -> Manifest:
    name = manifest["metadata"]["name"]
    spec = _part(kind, manifest, "spec")
    selector = _part(kind, manifest, "spec.selector")
    if not selector:
        raise refused(kind, name, "spec.selector", None, "is required")
    for given in ("spec.selector.matchLabels", "spec.template.metadata.annotations"):
        _part(kind, manifest, given)
    labels = _part(kind, manifest, "spec.template.metadata.labels")
    if not Selector.of(selector).matches(labels):
        why = "`selector` does not match template `labels`"
        raise refused(kind, name, "spec.template.metadata.labels", labels, why)
    if old is not None and old["spec"].get("selector") != selector:
        raise refused(kind, name, "spec.selector", selector, "field is immutable")
    replicas = spec.get("replicas", 1)
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        why = "must be an integer of 0 or more"
        raise refused(kind, name, "spec.replicas", replicas, why)
    _need_containers(kind, name, "spec.template.spec", _part(kind, manifest, "spec.template.spec"))
    return manifest


def _pod(kind: Kind, manifest: Manifest, old: Manifest | None) -> Manifest:
    name = manifest["metadata"]["name"]
    _need_containers(kind, name, "spec", _part(kind, manifest, "spec"))
    if old is not None and old.get("spec") != manifest.get("spec"):
        raise refused(kind, name, "spec", "(changed)", "a pod's spec may not change")
    return manifest


def _need_containers(kind: Kind, name: str, field: str, spec: Mapping[str, Any]) -> None:
    containers = spec.get("containers")
    if not isinstance(containers, list) or not containers:
        raise refused(kind, name, f"{field}.containers", containers, "is required")
    for index, container in enumerate(containers):
        if not isinstance(container, Mapping):
            raise refused(kind, name, f"{field}.containers[{index}]", container, "must be a map")
        for key in ("name", "image"):
            if not isinstance(container.get(key), str) or not container[key]:
                where = f"{field}.containers[{index}].{key}"
                raise refused(kind, name, where, container.get(key), "is required")


def _service(kind: Kind, manifest: Manifest, _old: Manifest | None) -> Manifest:
    name = manifest["metadata"]["name"]
    _part(kind, manifest, "spec.selector")
    ports = _part(kind, manifest, "spec").get("ports")
    if not isinstance(ports, list) or not ports:
        raise refused(kind, name, "spec.ports", ports, "is required")
    for index, port in enumerate(ports):
        number = port.get("port") if isinstance(port, Mapping) else None
        if not isinstance(number, int) or not 0 < number < 2**16:
            why = "must be between 1 and 65535"
            raise refused(kind, name, f"spec.ports[{index}].port", number, why)
    return manifest


def _argo(kind: Kind, manifest: Manifest, _old: Manifest | None) -> Manifest:
    """Check what Argo's own definitions say of these objects."""
    if manifest.get("spec") is None:
        raise refused(kind, manifest["metadata"]["name"], "spec", None, "is required")
    return manifest


_CHECKS: Mapping[str, Callable[[Kind, Manifest, Manifest | None], Manifest]] = {
    "Secret": _secret,
    "ConfigMap": _config_map,
    "Deployment": _deployment,
    "Pod": _pod,
    "Service": _service,
    "Workflow": _argo,
    "WorkflowTemplate": _argo,
    "ClusterWorkflowTemplate": _argo,
}
