"""What has to be written at all: an object or a status that is as wanted costs no write."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from nexus_api.meta import APPLIED_HASH, Manifest
from nexus_operator.naming import digest
from nexus_operator.objects import annotations_of

_ITEM_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "ports": ("containerPort", "port"),
    "ownerReferences": ("uid",),
}
"""Lists that the API server merges by a key; all others are compared as a whole."""

_WHOLE_MAPS = frozenset({"selector", "matchLabels", "nodeSelector"})
"""Maps that stand or fall as a whole: one more label selects other pods."""

_AMOUNTS = frozenset({"requests", "limits"})
"""Maps of quantities."""

_QUANTITIES = frozenset({"averageValue", "sizeLimit"})
"""Quantities elsewhere: the API server stores all of them in a form of its own."""

_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkMGTPE]|[KMGTPE]i)?", re.ASCII)

_UNITS = {
    **{unit: Decimal(10) ** (3 * at) for at, unit in enumerate("num", -3)},
    **{unit: Decimal(10) ** (3 * at) for at, unit in enumerate(["", *"kMGTPE"])},
    **{f"{unit}i": Decimal(2) ** (10 * at) for at, unit in enumerate("KMGTPE", 1)},
}


def stamped(wanted: Manifest) -> Manifest:
    """Return the object with the hash of itself as an annotation."""
    metadata = wanted["metadata"]
    annotations = {**(metadata.get("annotations") or {}), APPLIED_HASH: digest(wanted)}
    return {**wanted, "metadata": {**metadata, "annotations": annotations}}


def needs_apply(wanted: Manifest, seen: Manifest | None) -> bool:
    """Tell whether `wanted` (not stamped) must be applied over what was seen.

    An equal hash says that we applied this before; then what is there must still hold it all:
    fields that others own, and defaults that the server fills in, do not count.
    """
    if seen is None or annotations_of(seen).get(APPLIED_HASH) != digest(wanted):
        return True
    return not holds(wanted, seen)


def holds(wanted: Any, seen: Any, field: str = "") -> bool:
    """Tell whether `seen` has everything that `wanted` says; `field` is where both stand."""
    if field in _QUANTITIES:
        return _amount(wanted) == _amount(seen)
    if wanted in ({}, [], "") and seen is None:
        return True  # the server may drop what is empty
    if isinstance(wanted, Mapping):
        return isinstance(seen, Mapping) and _holds_fields(wanted, seen, field)
    if isinstance(wanted, list):
        return isinstance(seen, list) and _holds_items(wanted, seen, field)
    return bool(wanted == seen)


def _holds_fields(wanted: Mapping[str, Any], seen: Mapping[str, Any], field: str) -> bool:
    if field in _WHOLE_MAPS and wanted.keys() != seen.keys():
        return False
    if field in _AMOUNTS:
        return all(_amount(value) == _amount(seen.get(key)) for key, value in wanted.items())
    return all(holds(value, seen.get(key), key) for key, value in wanted.items())


def _holds_items(wanted: Sequence[Any], seen: Sequence[Any], field: str) -> bool:
    keys = _ITEM_KEYS.get(field)
    if keys is None:
        return len(wanted) == len(seen) and all(map(holds, wanted, seen))
    there = {_key(item, keys): item for item in seen}
    return all(holds(item, there.get(_key(item, keys))) for item in wanted)


def _key(item: Any, keys: tuple[str, ...]) -> str:
    return next((str(item[key]) for key in keys if key in item), "")


def _amount(text: object) -> Decimal | str | None:
    """Return the number that a Kubernetes quantity stands for; `500m` is `0.5`."""
    if text is None:
        return None
    match = _QUANTITY.fullmatch(str(text))
    try:
        return Decimal(match[1]) * _UNITS[match[2] or ""] if match else str(text)
    except InvalidOperation:
        return str(text)


def status_patch(seen: Mapping[str, Any], wanted: Mapping[str, Any]) -> Manifest:
    """Return the JSON merge patch from one status to another, empty when nothing differs.

    In `wanted`, None clears a field; fields that it does not name stay.
    """
    patch: Manifest = {}
    for key, value in wanted.items():
        present = seen.get(key)
        if isinstance(value, Mapping) and isinstance(present, Mapping):
            gone = {name: None for name in present if name not in value}
            inner = status_patch(present, {**value, **gone})
            if inner:
                patch[key] = inner
        elif value != present:
            patch[key] = value
    return patch
