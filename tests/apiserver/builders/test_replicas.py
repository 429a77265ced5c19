"""What a real API server makes of a number of replicas that we apply, create, or leave out."""

import json
from typing import Any

import httpx
import pytest
import yaml
from builders_place import APPLY, BUILT, NAMESPACE, url

from nexus_operator.reconcile.diff import needs_apply, stamped

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(2400)]

OURS = {"fieldManager": "nexus-operator"}
MERGE = {"content-type": "application/merge-patch+json"}


def deployment(name: str, replicas: int | None) -> Any:
    made = yaml.safe_load(BUILT["cluster-llamacpp"].read_text(encoding="utf-8"))
    made["metadata"] |= {"name": name, "namespace": NAMESPACE}
    del made["spec"]["replicas"]
    return made if replicas is None else {**made, "spec": {**made["spec"], "replicas": replicas}}


def apply(client: httpx.Client, made: Any) -> Any:
    params = {**OURS, "fieldValidation": "Strict", "force": "true"}
    answer = client.patch(
        url(made), content=json.dumps(stamped(made)), headers=APPLY, params=params
    )
    assert answer.is_success, answer.text
    return answer.json()


def test_number_that_a_deployment_was_created_with_stays_when_we_apply_none(
    restricted: httpx.Client,
) -> None:
    made = deployment("created", 4)
    collection = url(made).removesuffix("/created")
    restricted.post(collection, json=made, params=OURS).raise_for_status()
    left = deployment("created", None)
    assert apply(restricted, left)["spec"]["replicas"] == 4
    scale = {"spec": {"replicas": 5}}
    answer = restricted.patch(f"{url(made)}/scale", json=scale, headers=MERGE)
    assert answer.is_success, answer.text
    stored = apply(restricted, left)
    assert stored["spec"]["replicas"] == 5
    assert not needs_apply(left, stored)


def test_number_that_we_applied_falls_to_one_when_we_leave_it_out(restricted: httpx.Client) -> None:
    """Why it is handed over first (ADR 15)."""
    assert apply(restricted, deployment("applied", 3))["spec"]["replicas"] == 3
    assert apply(restricted, deployment("applied", None))["spec"]["replicas"] == 1
