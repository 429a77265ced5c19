"""The mutator of specs leaves no field out, whatever it lies in."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fault_lab.mutations import mutations, spec_schema, walk

Way = tuple[str, ...]
CRDS = sorted((Path(__file__).parents[3] / "manifests" / "crds").glob("*.yaml"))


def leaves(schema: dict[str, Any], way: Way = ()) -> Iterator[Way]:
    """Every place of a schema that holds a plain value, in lists and maps, too."""
    inner = schema.get("properties") or {}
    for name, one in inner.items():
        yield from leaves(one, (*way, name))
    items, extra = schema.get("items"), schema.get("additionalProperties")
    if items:
        yield from leaves(items, (*way, "[]"))
    if extra:
        yield from leaves(extra, (*way, "{}"))
    if not (inner or items or extra):
        yield way


def values(schema: dict[str, Any], value: Any, way: Way = ()) -> Iterator[tuple[Way, Any]]:
    """Every plain value of a spec, and its place by the schema."""
    if isinstance(value, dict) and "additionalProperties" in schema:
        for one in value.values():
            yield from values(schema["additionalProperties"], one, (*way, "{}"))
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from values((schema.get("properties") or {}).get(name, {}), one, (*way, name))
    elif isinstance(value, list):
        for one in value:
            yield from values(schema.get("items") or {}, one, (*way, "[]"))
    else:
        yield way, value


@pytest.mark.parametrize("path", CRDS, ids=lambda path: path.stem)
@pytest.mark.parametrize("each", [None, 24])
def test_every_leaf_is_given_many_values(path: Path, each: int | None) -> None:
    schema = spec_schema(yaml.safe_load(path.read_text()))
    drawn = mutations(schema) if each is None else walk(schema, each=each, seed=1)
    given: dict[Way, set[str]] = {}
    for one in drawn:
        for way, value in values(schema, one.patch()["spec"]):
            given.setdefault(way, set()).add(repr(value))
    few = [way for way in leaves(schema) if len(given.get(way, ())) < 5]
    assert not few, f"given next to nothing: {few}"


def test_the_leaves_inside_lists_are_known() -> None:
    found = {
        (path.stem.rpartition("_")[2], *way)
        for path in CRDS
        for way in leaves(spec_schema(yaml.safe_load(path.read_text())))
        if "[]" in way[:-1]
    }
    assert len(found) >= 6
    assert ("servingmodels", "model", "adapters", "[]", "digest") in found
    assert ("finetunejobs", "triggers", "alerts", "[]", "matchers", "{}") in found
