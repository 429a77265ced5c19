"""The audit of rights finds one rule too many, and one too few."""

import json
from pathlib import Path
from typing import Any

import pytest
from fault_lab.rbac import Manifest, Right, granted, used

PLATFORM = "nexus-system"
ACCOUNT = "nexus-operator"
USER = f"system:serviceaccount:{PLATFORM}:{ACCOUNT}"
READ = Right("users", "get", "llmops.nexus", "ragindexes")
STATUS = Right("users", "patch", "llmops.nexus", "ragindexes/status")
RUN = Right("platform", "create", "argoproj.io", "workflows")
USED = {READ, STATUS, RUN}


def rule(*rights: Right) -> Manifest:
    (group,) = {one.group for one in rights}
    return {
        "apiGroups": [group],
        "resources": sorted({one.resource for one in rights}),
        "verbs": sorted({one.verb for one in rights}),
    }


def roles(users: list[Manifest], platform: list[Manifest]) -> list[Manifest]:
    """A ClusterRole and a Role of the account, and a Role of somebody else."""
    subjects = [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": PLATFORM}]
    others = [{"kind": "ServiceAccount", "name": "nexus-gateway", "namespace": PLATFORM}]
    secrets = rule(Right("platform", "get", "", "secrets"))

    def bound(scope: str, name: str, rules: list[Manifest], to: list[Manifest]) -> list[Manifest]:
        kind, metadata = f"{scope}Role", {"name": name}
        reference = {"kind": kind, "name": name}
        role = {"kind": kind, "metadata": metadata, "rules": rules}
        binding = {"kind": f"{kind}Binding", "metadata": metadata, "roleRef": reference}
        return [role, {**binding, "subjects": to}]

    return [
        *bound("Cluster", ACCOUNT, users, subjects),
        *bound("", ACCOUNT, platform, subjects),
        *bound("", "nexus-gateway", [secrets], others),
    ]


EXACT = roles([rule(READ), rule(STATUS)], [rule(RUN)])


def event(right: Right, *, allowed: bool = True, **more: Any) -> Manifest:
    resource, _, subresource = right.resource.partition("/")
    about = {"resource": resource, "apiGroup": right.group}
    about["namespace"] = PLATFORM if right.where == "platform" else "team"
    if subresource:
        about["subresource"] = subresource
    return {
        "stage": "ResponseComplete",
        "verb": right.verb,
        "user": {"username": USER},
        "objectRef": about,
        "responseStatus": {"code": 200 if allowed else 403},
        "annotations": {
            "authorization.k8s.io/decision": "allow" if allowed else "forbid",
            "authorization.k8s.io/reason": "",
        },
        **more,
    }


def log(folder: Path, *events: Manifest) -> Path:
    file = folder / "audit.jsonl"
    file.write_text("\n".join(json.dumps(one) for one in events))
    return file


def asked(file: Path) -> set[Right]:
    return {one.right for one in used(file, USER, PLATFORM) if one.allowed}


def refused(file: Path) -> set[str]:
    return {str(one.right) for one in used(file, USER, PLATFORM) if not one.allowed}


def test_what_is_granted_is_what_was_used(tmp_path: Path) -> None:
    file = log(tmp_path, *map(event, USED))
    assert granted(EXACT, ACCOUNT) == asked(file) == USED
    assert refused(file) == set()


@pytest.mark.parametrize(
    ("users", "platform", "idle"),
    [
        ([Right("users", "delete", "", "secrets")], [], "users: delete secrets.core"),
        ([], [Right("platform", "get", "", "secrets")], "platform: get secrets.core"),
        # A verb more on what is used, and a subresource more, count as well.
        ([READ._replace(verb="delete")], [], "users: delete ragindexes.llmops.nexus"),
        ([STATUS._replace(verb="get")], [], "users: get ragindexes/status.llmops.nexus"),
        # What is used in the platform's namespace is not used in those of users.
        ([RUN._replace(where="users")], [], "users: create workflows.argoproj.io"),
    ],
    ids=str,
)
def test_a_rule_too_many_is_found(
    tmp_path: Path, users: list[Right], platform: list[Right], idle: str
) -> None:
    more = roles([rule(READ), rule(STATUS), *map(rule, users)], [rule(RUN), *map(rule, platform)])
    found = granted(more, ACCOUNT) - asked(log(tmp_path, *map(event, USED)))
    assert {str(one) for one in found} == {idle}


@pytest.mark.parametrize("lacking", sorted(USED), ids=str)
def test_a_rule_too_few_is_found(tmp_path: Path, lacking: Right) -> None:
    """The API server refuses what it lets nobody do, and says so in its log."""
    events = [event(one, allowed=one != lacking) for one in USED]
    file = log(tmp_path, *events)
    assert refused(file) == {str(lacking)}
    assert asked(file) == USED - {lacking}


def test_rights_of_others_and_requests_of_others_are_not_the_accounts(tmp_path: Path) -> None:
    gateway = {"user": {"username": f"system:serviceaccount:{PLATFORM}:nexus-gateway"}}
    secret = Right("platform", "get", "", "secrets")
    early = event(secret, stage="RequestReceived")
    health = {**event(secret), "objectRef": None}
    file = log(tmp_path, event(secret, **gateway), early, health, event(READ))
    assert asked(file) == {READ}
    assert secret not in granted(EXACT, ACCOUNT)
    assert granted(EXACT, "nexus-gateway") == {secret}


def test_an_apply_that_makes_an_object_uses_both_verbs(tmp_path: Path) -> None:
    applied = event(RUN._replace(verb="patch"), responseStatus={"code": 201})
    assert asked(log(tmp_path, applied)) == {RUN, RUN._replace(verb="patch")}
    changed = event(RUN._replace(verb="patch"))
    assert asked(log(tmp_path, changed)) == {RUN._replace(verb="patch")}
