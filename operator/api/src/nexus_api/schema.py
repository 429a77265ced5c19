"""From pydantic models to CustomResourceDefinitions with structural schemas.

The API server refuses what pydantic writes ($ref, anyOf for optional fields, const), so the schema
is rewritten: references are put in place, an optional field is just not required, and a default
stands at every level, so that `spec: {}` is filled in completely.
"""

from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from nexus_api.kinds import KINDS, Kind
from nexus_api.meta import GROUP, VERSION, Manifest, Model

Schema = dict[str, Any]

_KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "default",
    "required",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
)
_REWRITTEN = {"$ref", "$defs", "anyOf", "const", "title", "items", "properties"} | {
    "additionalProperties"
}


class UnsupportedSchema(TypeError):
    """A model uses something that has no structural schema."""


class _WithFactories(GenerateJsonSchema):
    """Writes defaults that come from factories too, in full: CEL rules look at them."""

    def get_default_value(self, schema: core_schema.WithDefaultSchema) -> Any:
        factory = schema.get("default_factory")
        if factory is None or schema.get("default_factory_takes_data"):
            return super().get_default_value(schema)
        value = factory()  # type: ignore[call-arg]
        return value.manifest() if isinstance(value, Model) else value


def _structural(node: Schema, definitions: dict[str, Schema]) -> Schema:
    node = _resolved(node, definitions)
    unknown = node.keys() - set(_KEPT) - _REWRITTEN
    if unknown:
        raise UnsupportedSchema(f"no structural schema for {sorted(unknown)} in {node}")
    out = {key: node[key] for key in _KEPT if key in node}
    if out.get("default", ...) is None:
        del out["default"]
    if "const" in node:
        out["enum"] = [node["const"]]
    if "items" in node:
        out["items"] = _structural(node["items"], definitions)
    if "properties" in node:
        out["properties"] = {
            name: _structural(child, definitions) for name, child in node["properties"].items()
        }
    elif isinstance(node.get("additionalProperties"), dict):
        out["additionalProperties"] = _structural(node["additionalProperties"], definitions)
    if "type" not in out:
        raise UnsupportedSchema(f"a structural schema needs a type: {node}")
    return out


def _resolved(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """Put references and optional types in place; what stands beside them wins."""
    while "$ref" in node or "anyOf" in node:
        if "$ref" in node:
            target = definitions[node["$ref"].rsplit("/", 1)[1]]
        else:
            choices = [choice for choice in node["anyOf"] if choice != {"type": "null"}]
            if len(choices) != 1:
                raise UnsupportedSchema(f"a union of types has no structural schema: {node}")
            target = choices[0]
        node = target | {key: node[key] for key in node if key not in {"$ref", "anyOf"}}
    return node


def _without_defaults(node: Schema) -> Schema:
    """Status says what was observed, so nothing in it is filled in."""
    out = {key: value for key, value in node.items() if key != "default"}
    if "properties" in out:
        out["properties"] = {k: _without_defaults(v) for k, v in out["properties"].items()}
    if "items" in out:
        out["items"] = _without_defaults(out["items"])
    return out


@cache
def structural_schema(kind: str) -> Schema:
    """Return the OpenAPI v3 schema of a kind as its CustomResourceDefinition holds it.

    The value is shared: callers do not change it.
    """
    model = KINDS[kind].model
    raw = model.model_json_schema(by_alias=True, schema_generator=_WithFactories)
    definitions: dict[str, Schema] = raw.get("$defs", {})
    spec = _structural(raw["properties"]["spec"], definitions)
    status = _without_defaults(_structural(raw["properties"]["status"], definitions))
    return {
        "description": raw["description"],
        "type": "object",
        "x-kubernetes-validations": raw["x-kubernetes-validations"],
        **({} if "default" in spec else {"required": ["spec"]}),
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": spec,
            "status": status,
        },
    }


def _columns(kind: Kind) -> list[Schema]:
    return [
        {
            "name": column.name,
            "type": column.type,
            "jsonPath": column.path,
            **({"priority": column.priority} if column.priority else {}),
        }
        for column in kind.columns
    ]


def _subresources(kind: Kind) -> Schema:
    if kind.scale is None:
        return {"status": {}}
    return {
        "status": {},
        "scale": {
            "specReplicasPath": kind.scale.spec,
            "statusReplicasPath": kind.scale.status,
            "labelSelectorPath": kind.scale.selector,
        },
    }


def custom_resource_definition(kind: Kind) -> Manifest:
    """Return the CustomResourceDefinition of one kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short],
                "categories": ["nexus"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": _columns(kind),
                    "subresources": _subresources(kind),
                    "schema": {"openAPIV3Schema": structural_schema(kind.name)},
                }
            ],
        },
    }
