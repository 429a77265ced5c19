"""What requests carry: bodies in JSON or YAML, and options in the query; no server in here."""

import json
import math
from collections.abc import Mapping
from typing import Any

import yaml

from nexus_api.meta import Manifest
from nexus_local.api.routes import Target
from nexus_local.api.statuses import RequestError, bad_request

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
_MOST_DIGITS = 18
_READABLE = frozenset({"application/json", "application/yaml", MERGE_PATCH, APPLY_PATCH, ""})


def body(content_type: str, text: bytes) -> Manifest:
    """Return the map that a body holds; raises RequestError."""
    if content_type not in _READABLE:
        raise RequestError(
            415,
            "UnsupportedMediaType",
            f"content type {content_type} is not offered; patches are {MERGE_PATCH} or "
            f"{APPLY_PATCH}, other bodies application/json or application/yaml",
        )
    try:
        value = _parsed(text)
        if b"\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # half a character cannot be stored
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise bad_request(f"the body cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise bad_request(f"the body must be a map, not {type(value).__name__}")
    return value


def _parsed(text: bytes) -> Any:
    if text.lstrip()[:1] in {b"{", b"["}:
        return json.loads(text, parse_constant=_number, parse_float=_number)
    loaded = yaml.load(text, Loader=yaml.CSafeLoader)
    # As the API server does, all goes through JSON: dates become text, odd keys are refused.
    return json.loads(json.dumps(loaded, default=str, allow_nan=False))


def _number(text: str) -> float:
    """Read a number; NaN and what is beyond a float are none in JSON, and no client reads them."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number in JSON")
    return value


def addressed(target: Target, manifest: Manifest) -> Manifest:
    """Return the manifest with what its URL says; raises RequestError where the two differ."""
    metadata = manifest.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise bad_request("metadata must be a map")
    wanted = {"apiVersion": target.kind.api_version, "kind": target.kind.name}
    for key, value in wanted.items():
        if manifest.get(key, value) != value:
            raise bad_request(f"{key} {manifest[key]!r} does not fit the URL, which is for {value}")
    place = {"name": target.name, "namespace": target.namespace}
    place = {key: value for key, value in place.items() if value}
    for key, value in place.items():
        given = (metadata or {}).get(key)
        if given and given != value:
            message = f"metadata.{key} {given!r} does not match the {key} of the URL, {value!r}"
            raise bad_request(message)
    return {**manifest, **wanted, "metadata": {**(metadata or {}), **place}}


def flag(query: Mapping[str, str], name: str) -> bool:
    """Return a yes-or-no option of the query; raises RequestError."""
    text = query.get(name, "")
    if text.lower() not in {"", "0", "1", "true", "false"}:
        raise bad_request(f"{name}={text!r}: write true or false")
    return text.lower() in {"1", "true"}


def number(query: Mapping[str, str], name: str) -> int | None:
    """Return a whole number of the query, None when it is not there; raises RequestError."""
    text = query.get(name)
    if text is None:
        return None
    if not text.isdecimal() or len(text) > _MOST_DIGITS:
        raise bad_request(f"{name}={text!r} is no whole number")
    return int(text)


def deletion(content: Manifest, query: Mapping[str, str]) -> Manifest:
    """Return the preconditions of a DeleteOptions; raises RequestError for what is not offered.

    Clients send options in the body or in the query, `kubectl delete --dry-run` in the body.
    """
    refuse_not_offered({**query, **content}, ("dryRun", "orphanDependents"))
    policy = content.get("propagationPolicy", query.get("propagationPolicy"))
    if policy not in (None, "", "Background", "Foreground"):
        raise bad_request("propagationPolicy: only Background is offered")
    conditions = content.get("preconditions") or {}
    if not isinstance(conditions, dict) or set(conditions) - {"uid", "resourceVersion"}:
        raise bad_request("preconditions: a map of uid and resourceVersion")
    return conditions


def refuse_not_offered(query: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Raise RequestError for options that would change what happens and are not offered."""
    for name in names:
        if query.get(name):
            raise bad_request(f"{name} is not offered on the laptop")
