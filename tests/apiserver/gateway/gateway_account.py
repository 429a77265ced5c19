"""The gateway's account, and resources as the operator would leave them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml
from gateway_scripted import index_manifest, model_manifest
from needs import program
from testcluster.control_plane import ControlPlane

ACCOUNT = "nexus-gateway"
GROUP = "/apis/llmops.nexus/v1alpha1/namespaces/default"
CHART = Path(__file__).parents[3] / "charts" / "llmops-nexus"
KUBERNETES = "1.34.4"
KINDS = {
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "ValidatingAdmissionPolicy": (
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    ),
    "ValidatingAdmissionPolicyBinding": (
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
    ),
}
"""What the chart says of an account, and where the API server keeps it."""


def rendered() -> list[dict[str, Any]]:
    """Return what the chart lets the account do: its role, and the policy that limits it."""
    command = [str(program("helm")), "template", "nexus", str(CHART), "--namespace", "default"]
    command += ["--show-only", "templates/rbac.yaml", "--kube-version", KUBERNETES]
    command += ["--show-only", "templates/admission-policy.yaml"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    objects = [one for one in yaml.safe_load_all(done.stdout) if one]
    return [one for one in objects if one["metadata"]["name"] == f"default-{ACCOUNT}"]


def token(api: ControlPlane) -> str:
    """Return a token of the account, as the kubelet asks for one."""
    answer = api.client.post(
        f"/api/v1/namespaces/default/serviceaccounts/{ACCOUNT}/token",
        json={"spec": {"expirationSeconds": 600}},
    )
    assert answer.status_code == 201, answer.text
    given: str = answer.json()["status"]["token"]
    return given


def put_model(api: ControlPlane, name: str, url: str, **spec: Any) -> None:
    """Create a model, or change it, and write the status that the operator would."""
    _put(api, "servingmodels", model_manifest(name, url, **spec))


def put_index(api: ControlPlane, name: str) -> None:
    """Create an index."""
    _put(api, "ragindexes", index_manifest(name))


def _put(api: ControlPlane, plural: str, manifest: dict[str, Any]) -> None:
    name = manifest["metadata"]["name"]
    status = {
        "apiVersion": manifest["apiVersion"],
        "kind": manifest["kind"],
        "metadata": {"name": name},
        "status": manifest.pop("status"),
    }
    for path, body in {"": manifest, "/status": status}.items():
        answer = api.client.patch(
            f"{GROUP}/{plural}/{name}{path}",
            params={"fieldManager": "test", "force": "true"},
            headers={"content-type": "application/apply-patch+yaml"},
            json=body,
        )
        assert answer.status_code in {200, 201}, answer.text
