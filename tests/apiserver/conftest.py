"""The `apiserver` tier: a real kube-apiserver with our CustomResourceDefinitions in it."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs import program

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "cluster"), str(Path(__file__).parent)]

from testcluster.control_plane import ControlPlane  # noqa: E402 - the path is set above

CRDS = sorted((ROOT / "manifests" / "crds").glob("*.yaml"))
_CRD_URL = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_YAML = {"content-type": "application/yaml"}
_ESTABLISHED_SECONDS = 180
_POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    users:
      - system:serviceaccount:default:nexus-gateway
      - system:serviceaccount:default:nexus-events
      - system:serviceaccount:default:nexus-monitor
      - system:serviceaccount:default:nexus-pipelines
  - level: None
"""
"""What the chart's accounts ask for is written down, for `gateway/test_rights.py` and its kind."""


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane, built when Go is there."""
    program("etcd")
    program("kube")
    policy = tmp_path_factory.mktemp("audit") / "policy.yaml"
    policy.write_text(_POLICY)
    with ControlPlane(audit_policy=policy) as running:
        yield running


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> ControlPlane:
    """The control plane with our kinds established."""
    client = control_plane.client
    for path in CRDS:
        answer = client.post(
            _CRD_URL,
            params={"fieldValidation": "Strict"},
            content=path.read_bytes(),
            headers=_YAML,
        )
        assert answer.status_code == 201, f"{path.name}: {answer.json()['message']}"
    deadline = time.monotonic() + _ESTABLISHED_SECONDS
    while time.monotonic() < deadline:
        items = client.get(_CRD_URL).json()["items"]
        conditions = [
            {c["type"]: c["status"] for c in item["status"]["conditions"] or ()} for item in items
        ]
        served = client.get("/apis/llmops.nexus/v1alpha1").status_code == 200
        if served and all(c.get("Established") == "True" for c in conditions):
            return control_plane
        time.sleep(0.1)
    raise TimeoutError("the CustomResourceDefinitions were not established")
