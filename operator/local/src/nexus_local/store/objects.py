"""What the server adds to an object and what a writer may not change; pure functions."""

import copy
import re
import secrets
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from nexus_api.meta import Manifest
from nexus_local.store.kinds import Kind
from nexus_operator.cluster.errors import Conflict, Invalid

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_KEY = re.compile(
    r"([a-z0-9][-a-z0-9.]{0,252}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_LONGEST_NAME = 253
_LONGEST_LABEL = 63
_SERVER_SETS = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
)
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # as Kubernetes: no vowels, so no words


def timestamp(moment: datetime) -> str:
    """Write a point in time as Kubernetes does, in whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def owner_uids(manifest: Manifest) -> set[str]:
    """Return the uids of the objects that own this one."""
    return {ref["uid"] for ref in manifest["metadata"].get("ownerReferences") or ()}


def address(kind: Kind, manifest: Manifest) -> tuple[str, str]:
    """Return (namespace, name) of a manifest; raises Invalid when they cannot be an object's.

    A missing namespace is `default`; a missing name is made from `generateName`.
    """
    metadata = manifest.get("metadata")
    if not isinstance(metadata, dict):
        raise refused(kind, "", "metadata", metadata, "must be a map")
    name = metadata.get("name") or ""
    if not name and isinstance(prefix := metadata.get("generateName"), str) and prefix:
        name = prefix + "".join(secrets.choice(_SUFFIX) for _ in range(5))
    if not isinstance(name, str) or not _SUBDOMAIN.fullmatch(name) or len(name) > _LONGEST_NAME:
        why = "must be lower case letters, digits, '-' or '.', with a letter or digit at both ends"
        raise refused(kind, str(name), "metadata.name", name, why if name else "is required")
    if kind.name == "Service" and (len(name) > _LONGEST_LABEL or "." in name):
        raise refused(
            kind, name, "metadata.name", name, "must be a DNS label of at most 63 characters"
        )
    if not kind.namespaced:
        return "", name
    namespace = metadata.get("namespace") or "default"
    if (
        not isinstance(namespace, str)
        or not _LABEL.fullmatch(namespace)
        or len(namespace) > _LONGEST_LABEL
    ):
        raise refused(kind, name, "metadata.namespace", namespace, "must be a DNS label")
    return namespace, name


def created(kind: Kind, manifest: Manifest, address: tuple[str, str], now: datetime) -> Manifest:
    """Return the object as it is stored first: identity set, no status if that is apart."""
    namespace, name = address
    metadata = {
        key: copy.deepcopy(value)
        for key, value in manifest["metadata"].items()
        if key not in _SERVER_SETS and key not in {"managedFields", "selfLink"}
    }
    identity = {"name": name, **({"namespace": namespace} if namespace else {})}
    counted = {"generation": 1} if kind.counted else {}
    body = {
        key: copy.deepcopy(value)
        for key, value in manifest.items()
        if key not in {"apiVersion", "kind", "metadata"} and not (kind.status and key == "status")
    }
    stored = {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {
            **identity,
            **metadata,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": timestamp(now),
            **counted,
        },
        **body,
    }
    _check_metadata(kind, stored)
    return stored


def updated(kind: Kind, live: Manifest, wanted: Manifest, *, status: bool) -> Manifest:
    """Return what `wanted` makes of `live`: either everything but the status, or the status alone.

    Kinds without a status subresource are written as a whole.  Raises Conflict when `wanted`
    names another resource version or uid, Invalid when it breaks a rule on metadata.
    """
    metadata = wanted.get("metadata")
    if not isinstance(metadata, dict):
        raise refused(kind, live["metadata"]["name"], "metadata", metadata, "must be a map")
    _check_preconditions(kind, live, metadata)
    if status:
        kept = {key: value for key, value in live.items() if key != "status"}
        return {**kept, "status": wanted["status"]} if wanted.get("status") else kept
    server = {key: live["metadata"][key] for key in _SERVER_SETS if key in live["metadata"]}
    users = {
        key: value
        for key, value in metadata.items()
        if key not in _SERVER_SETS and key not in {"managedFields", "selfLink"}
    }
    body = {
        key: value
        for key, value in wanted.items()
        if key not in {"apiVersion", "kind", "metadata"} and not (kind.status and key == "status")
    }
    after = {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {**users, **server},
        **body,
    }
    if kind.status and "status" in live:
        after["status"] = live["status"]
    _check_metadata(kind, after)
    _check_deleting(kind, live, after)
    return after


def next_generation(kind: Kind, live: Manifest, after: Manifest) -> int | None:
    """Return the generation after a write, or None for kinds that do not count."""
    if not kind.counted:
        return None
    generation = int(live["metadata"].get("generation", 1))
    if kind.counted == "spec":
        changed = live.get("spec") != after.get("spec")
    else:
        changed = _without_metadata(live) != _without_metadata(after)
    return generation + 1 if changed else generation


def refused(kind: Kind, name: str, field: str, value: Any, why: str) -> Invalid:
    """Return the error for one bad field, in the words of the API server."""
    return Invalid(f'{kind.name} "{name}" is invalid: {field}: Invalid value: {value!r}: {why}')


def _without_metadata(manifest: Manifest) -> Manifest:
    return {key: value for key, value in manifest.items() if key != "metadata"}


def _check_preconditions(kind: Kind, live: Manifest, metadata: Manifest) -> None:
    name = live["metadata"]["name"]
    for key, what in (("resourceVersion", "the object has been modified"), ("uid", "another uid")):
        given = metadata.get(key)
        if given and given != live["metadata"][key]:
            raise Conflict(
                f'Operation cannot be fulfilled on {kind.plural} "{name}": {what} '
                f"({key} {given} was sent, {live['metadata'][key]} is there); "
                "read it again and repeat the change"
            )


def _check_metadata(kind: Kind, manifest: Manifest) -> None:
    metadata = manifest["metadata"]
    name = metadata["name"]
    for key in ("labels", "annotations"):
        for item, value in _map(kind, name, f"metadata.{key}", metadata.get(key)):
            if not isinstance(value, str):
                why = "must be a string; put it in quotes"
                raise refused(kind, name, f"metadata.{key}[{item}]", value, why)
            if not _LABEL_KEY.fullmatch(item):
                why = "must be a qualified name: [prefix/]name of letters, digits, '-', '_', '.'"
                raise refused(kind, name, f"metadata.{key}", item, why)
            if key == "labels" and not _LABEL_VALUE.fullmatch(value):
                why = "must be at most 63 letters, digits, '-', '_', '.'"
                raise refused(kind, name, f"metadata.labels[{item}]", value, why)
    finalizers = metadata.get("finalizers") or []
    if not isinstance(finalizers, list) or not all(isinstance(f, str) for f in finalizers):
        raise refused(kind, name, "metadata.finalizers", finalizers, "must be a list of strings")
    owners = metadata.get("ownerReferences") or []
    if not isinstance(owners, list) or not all(isinstance(ref, dict) for ref in owners):
        raise refused(kind, name, "metadata.ownerReferences", owners, "must be a list of maps")
    for index, ref in enumerate(owners):
        texts = {k for k, v in ref.items() if v and isinstance(v, str)}
        missing = [k for k in ("apiVersion", "kind", "name", "uid") if k not in texts]
        if missing:
            field = f"metadata.ownerReferences[{index}].{missing[0]}"
            raise refused(kind, name, field, None, "is required")


def _map(kind: Kind, name: str, field: str, value: Any) -> Iterable[tuple[str, Any]]:
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise refused(kind, name, field, value, "must be a map")
    return value.items()


def _check_deleting(kind: Kind, live: Manifest, after: Manifest) -> None:
    if "deletionTimestamp" not in live["metadata"]:
        return
    before = set(live["metadata"].get("finalizers") or ())
    added = sorted(set(after["metadata"].get("finalizers") or ()) - before)
    if added:
        why = "no new finalizers can be added while the object is being deleted"
        raise refused(kind, live["metadata"]["name"], "metadata.finalizers", added, why)
