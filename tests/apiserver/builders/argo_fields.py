"""The fields that Argo Events knows; its definitions have no schemas, so nothing refuses a typo."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from testcluster.binaries import module_folder
from testcluster.programs import PROGRAMS

_GROUP = "io.argoproj.events.v1alpha1"


@cache
def _schemas() -> Any:
    module = module_folder(PROGRAMS["argo-events"], "github.com/argoproj/argo-events")
    return json.loads((module / "api/jsonschema/schema.json").read_bytes())["definitions"]


def unknown_fields(manifest: Any) -> list[str]:
    """Return the paths of fields in an EventSource or a Sensor that Argo Events does not read."""
    return list(_unknown(manifest, _schemas()[f"{_GROUP}.{manifest['kind']}"], ""))


def _unknown(value: Any, schema: Any, path: str) -> Iterator[str]:
    if "$ref" in schema:
        schema = _schemas()[schema["$ref"].removeprefix("#/definitions/")]
    if isinstance(value, list):
        for place, item in enumerate(value):
            yield from _unknown(item, schema.get("items", {}), f"{path}[{place}]")
    elif isinstance(value, dict):
        named = schema.get("properties")
        for key, inner in value.items():
            if named is not None and key not in named:
                yield f"{path}.{key}"
            else:
                under = (named or {}).get(key) or schema.get("additionalProperties") or {}
                yield from _unknown(inner, under, f"{path}.{key}")
