"""What an account used, by the API server's audit log, against what its roles grant."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

Manifest = dict[str, Any]

_CREATED = 201


class Right(NamedTuple):
    """One verb on one resource, in the namespace of the platform or in those of users."""

    where: str
    verb: str
    group: str
    resource: str
    """With the subresource, as RBAC writes it."""

    def __str__(self) -> str:
        """The right as a person reads it."""
        return f"{self.where}: {self.verb} {self.resource}.{self.group or 'core'}"


class Use(NamedTuple):
    """What an account asked for, and whether it was allowed."""

    right: Right
    allowed: bool
    reason: str


def used(audit_log: Path, user: str, platform: str) -> Iterator[Use]:
    """Yield each request of the account for a resource, once it was answered."""
    for line in audit_log.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        about = event.get("objectRef")
        if event["user"]["username"] != user or event["stage"] != "ResponseComplete" or not about:
            continue
        resource = about["resource"]
        if about.get("subresource"):
            resource += f"/{about['subresource']}"
        where = "platform" if about.get("namespace") == platform else "users"
        told = event.get("annotations") or {}
        verbs = [event["verb"]]
        if event["verb"] == "patch" and event["responseStatus"]["code"] == _CREATED:
            verbs.append("create")  # an apply that makes an object is asked for both
        for verb in verbs:
            yield Use(
                Right(where, verb, about.get("apiGroup", ""), resource),
                told.get("authorization.k8s.io/decision") == "allow",
                told.get("authorization.k8s.io/reason", ""),
            )


def granted(objects: Iterable[Manifest], account: str) -> set[Right]:
    """Return what the roles that are bound to an account grant: cluster roles and those of the
    users' namespaces as `users`, the others as `platform`."""
    objects = list(objects)
    roles = {(one["kind"], one["metadata"]["name"]): one for one in objects if "rules" in one}
    found: set[Right] = set()
    for binding in objects:
        if not any(one["name"] == account for one in binding.get("subjects") or ()):
            continue
        reference = binding["roleRef"]
        where = "users" if binding["kind"] == "ClusterRoleBinding" else "platform"
        for rule in roles[reference["kind"], reference["name"]]["rules"]:
            found |= {
                Right(where, verb, group, resource)
                for group in rule.get("apiGroups", ())
                for resource in rule.get("resources", ())
                for verb in rule["verbs"]
            }
    return found
