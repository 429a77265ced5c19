"""The API server lets the Sensor's account set our annotations on an index, and nothing else."""

import itertools
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml
from api_server import Cluster
from rendering import NAMESPACE, PLATFORM, ROOT

pytestmark = pytest.mark.apiserver

INDEXES = "/apis/llmops.nexus/v1alpha1/namespaces/default/ragindexes"
MERGE = {"content-type": "application/merge-patch+json"}
AS_SENSOR = {"Impersonate-User": f"system:serviceaccount:{NAMESPACE}:nexus-events"}
_SECONDS = 60


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[httpx.Client]:
    """An API server with the platform's roles and policy, and one index."""
    client = cluster.control_plane.client
    wanted = {
        "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding",
        "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
    }  # fmt: skip
    made = []
    for one in cluster.helm.template(PLATFORM):
        if one["kind"] in wanted:
            answer = client.post(cluster.url(one), json=one)
            assert answer.status_code in {201, 409}, answer.text
            if one["kind"] != "CustomResourceDefinition":
                made.append(cluster.one(one))
    index = yaml.safe_load((ROOT / "manifests/samples/handbook.yaml").read_text())
    index["metadata"]["annotations"] = {"team": "a", "llmops.nexus/sync-requested-at": "never"}
    deadline = time.monotonic() + _SECONDS
    while not (answer := client.post(INDEXES, json=index)).is_success:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.05)
    tries = itertools.count()  # a change each time: what stays as it is may stay
    while _annotate(client, {"probe": str(next(tries))}).is_success:
        assert time.monotonic() < deadline, "the policy is not in force"
        time.sleep(0.05)
    yield client
    for url in [f"{INDEXES}/handbook", *made]:
        client.delete(url)


def _annotate(api: httpx.Client, annotations: dict[str, Any]) -> httpx.Response:
    return _patch(api, {"metadata": {"annotations": annotations}})


def _patch(api: httpx.Client, change: dict[str, Any], path: str = "handbook") -> httpx.Response:
    return api.patch(f"{INDEXES}/{path}", json=change, headers=MERGE | AS_SENSOR)


def test_it_asks_for_a_sync(api: httpx.Client) -> None:
    answer = _annotate(api, {"llmops.nexus/sync-requested-at": "2026-11-21T12:00:00Z"})
    assert answer.status_code == 200, answer.text
    notes = answer.json()["metadata"]["annotations"]
    assert notes["llmops.nexus/sync-requested-at"] == "2026-11-21T12:00:00Z"
    assert notes["team"] == "a"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"metadata": {"annotations": {"team": "b"}}}, "only set annotations"),
        ({"metadata": {"annotations": {"other": "x"}}}, "only set annotations"),
        (
            {"metadata": {"annotations": {"llmops.nexus/promote-requested-at": "1 by me"}}},
            "only set annotations",
        ),
        (
            {"metadata": {"annotations": {"llmops.nexus/run-requested-at": "me"}}},
            "only set annotations",
        ),
        ({"metadata": {"annotations": {"team": None}}}, "may not remove annotations"),
        ({"metadata": {"annotations": None}}, "may not remove annotations"),
        ({"spec": {"sync": {"interval": "1h"}}}, "may not change a spec"),
        ({"metadata": {"labels": {"team": "b"}}}, "may not change labels"),
        ({"metadata": {"finalizers": ["a/b"]}}, "may not change labels, finalizers or owners"),
    ],
    ids=str,
)
def test_it_changes_nothing_else(api: httpx.Client, change: dict[str, Any], why: str) -> None:
    answer = _patch(api, change)
    assert answer.status_code == 422, answer.text
    assert why in answer.json()["message"]


def test_it_makes_deletes_and_lists_nothing(api: httpx.Client) -> None:
    missing = _patch(api, {"metadata": {"annotations": {"llmops.nexus/x": "1"}}}, "not-there")
    assert missing.status_code == 404
    assert api.delete(f"{INDEXES}/handbook", headers=AS_SENSOR).status_code == 403
    assert api.get(INDEXES, headers=AS_SENSOR).status_code == 403
    assert api.get(f"/api/v1/namespaces/{NAMESPACE}/secrets", headers=AS_SENSOR).status_code == 403


def test_others_are_not_bound_by_it(api: httpx.Client) -> None:
    change = {"metadata": {"annotations": {"other": "x"}}}
    answer = api.patch(f"{INDEXES}/handbook", json=change, headers=MERGE, params={"dryRun": "All"})
    assert answer.status_code == 200
