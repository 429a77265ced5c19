"""Admission of our kinds on a laptop, with the answers that a kube-apiserver gives.

The order is the API server's: read strictly (unknown fields are refused), drop nulls, fill in
defaults, set aside what the request may not write, then metadata, schema, lists that are sets or
maps, and last the CEL rules, unless an earlier problem makes them meaningless.
"""

import copy
import dataclasses
from typing import Any, Literal

from nexus_api import cel, object_meta, scale, structural
from nexus_api.defaulting import drop_nulls, fill_in, unknown_fields
from nexus_api.kinds import Kind, UnknownKind, kind_of
from nexus_api.meta import Manifest
from nexus_api.problems import Invalid, Malformed, Problem
from nexus_api.schema import Schema, structural_schema
from nexus_api.structural import MISSING

__all__ = ["Invalid", "Malformed", "Problem", "UnknownKind", "admit", "validate"]

Subresource = Literal["", "status"]


def validate(
    manifest: Manifest, *, old: Manifest | None = None, subresource: Subresource = ""
) -> list[Problem]:
    """Return what is wrong with a manifest, in order of field; nothing when it would be admitted.

    With `old`, the object as it is stored, this is an update: transition rules run, and problems in
    parts that did not change are let pass.  Raises UnknownKind.
    """
    try:
        admit(manifest, old, subresource=subresource)
    except Invalid as error:
        return list(error.problems)
    return []


def admit(
    manifest: Manifest, old: Manifest | None = None, *, subresource: Subresource = ""
) -> Manifest:
    """Return a copy of the object as it would be stored, with defaults filled in.

    A create drops status, an update keeps the stored one; with subresource `status`, spec is kept
    and status is taken.  Raises UnknownKind, Malformed for what cannot be read, Invalid for what
    breaks a rule.
    """
    kind = kind_of(manifest.get("apiVersion"), manifest.get("kind"))
    schema = structural_schema(kind.name)
    wanted = copy.deepcopy(manifest)
    unreadable = _unreadable(wanted, schema)
    metadata = wanted.get("metadata")
    name = str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
    if unreadable:
        raise Malformed(kind.name, name, unreadable)

    metadata = wanted.setdefault("metadata", {})
    for field in [field for field, value in metadata.items() if value is None]:
        del metadata[field]
    drop_nulls(wanted, schema)
    fill_in(wanted, schema)
    _set_aside(wanted, old, subresource)
    found = _problems(wanted, kind, schema, old, subresource)
    if found:
        raise Invalid(kind.name, name, found)
    return wanted


def _unreadable(manifest: Manifest, schema: Schema) -> list[Problem]:
    found = list(object_meta.undecodable(manifest.get("metadata") or {}))
    wrong = [problem for problem in found if problem.rule == "type"]
    if wrong:
        return wrong[:1]
    return found + [
        Problem(path, None, "unknown", f'unknown field "{path}"', sort="Malformed")
        for path in sorted(unknown_fields(manifest, schema))
    ]


def _set_aside(manifest: Manifest, old: Manifest | None, subresource: Subresource) -> None:
    """Take what the request may not write from the stored object."""
    kept = ("spec",) if subresource == "status" else ("status",)
    for field in kept:
        manifest.pop(field, None)
        if old is not None and field in old:
            manifest[field] = copy.deepcopy(old[field])


def _problems(
    manifest: Manifest,
    kind: Kind,
    schema: Schema,
    old: Manifest | None,
    subresource: Subresource,
) -> list[Problem]:
    before: Any = MISSING
    found = list(object_meta.problems(manifest["metadata"]))
    if old is not None:
        before = copy.deepcopy(old)
        fill_in(before, schema)
        found += object_meta.changed(manifest["metadata"], before.get("metadata", {}))
    if subresource == "status":
        found += _status_problems(manifest, schema, before)
    else:
        found += structural.problems(manifest, schema, "", before)
    if kind.scale is not None:
        found += scale.problems(manifest, kind.scale)
    if old is None or not structural.repeated(before, schema):
        found += structural.repeated(manifest, schema)
    if any(problem.blocking for problem in found):
        found.append(
            Problem(
                "<nil>",
                None,
                "unchecked",
                "some validation rules were not checked because the object was invalid; "
                "correct the existing errors to complete validation",
            )
        )
    else:
        found += cel.broken_rules(manifest, schema, "", before)
    return sorted(found, key=lambda problem: (problem.rule == "unchecked", problem.field))


def _status_problems(manifest: Manifest, schema: Schema, old: Any) -> list[Problem]:
    """Look at status alone, as a write of the subresource does; messages name paths below it."""
    if "status" not in manifest:
        return []
    before = old.get("status", MISSING) if isinstance(old, dict) else MISSING
    found = structural.problems(manifest["status"], schema["properties"]["status"], "", before)
    return [
        dataclasses.replace(problem, field=f"status.{problem.field}".removesuffix("."))
        for problem in found
    ]
