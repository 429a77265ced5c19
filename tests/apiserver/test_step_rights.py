"""The role of the pipelines' pods grants what Argo's executor uses and nothing else."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chart_account import NAMESPACE, check_rights, kubeconfig, process, rendered, token_of
from needs import program
from testcluster.control_plane import ControlPlane
from waiting import eventually

pytestmark = pytest.mark.apiserver

ACCOUNT = "nexus-pipelines"
RESULT = f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/workflowtaskresults/run-1"
REPORTED = "workflows.argoproj.io/report-outputs-completed"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SCHEMA = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
RESULTS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "workflowtaskresults.argoproj.io"},
    "spec": {
        "group": "argoproj.io",
        "scope": "Namespaced",
        "names": {
            "plural": "workflowtaskresults",
            "singular": "workflowtaskresult",
            "kind": "WorkflowTaskResult",
        },
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": SCHEMA},
            }
        ],
    },
}


@pytest.fixture
def results(api: ControlPlane) -> Iterator[ControlPlane]:
    """The API server with the kind of Argo that steps report by; it goes afterwards."""
    client, name = api.client, RESULTS["metadata"]["name"]
    assert client.post(DEFINITIONS, json=RESULTS).status_code == 201
    collection = RESULT.rpartition("/")[0]
    eventually(lambda: client.get(collection).is_success, what="the kind")
    yield api
    client.delete(f"{DEFINITIONS}/{name}")
    eventually(lambda: client.get(f"{DEFINITIONS}/{name}").status_code == 404, what="no kind")


def test_nothing_is_granted_unused_and_nothing_used_ungranted(
    results: ControlPlane, tmp_path: Path
) -> None:
    """It reports when a step begins and when it has ended, here because its pod is told to."""
    roles = rendered(ACCOUNT)
    template = {"name": "step", "container": {"name": "main", "image": "none", "command": ["x"]}}

    def labels() -> dict[str, str]:
        answer = results.client.get(RESULT)
        found: dict[str, str] = answer.json()["metadata"]["labels"] if answer.is_success else {}
        return found

    with token_of(results, ACCOUNT, roles, []) as token:
        access = tmp_path / "kubeconfig"
        access.write_text(kubeconfig(results, token))
        later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        with process(
            [str(program("argoexec")), "wait"],
            tmp_path / "log",
            KUBECONFIG=str(access),
            ARGO_POD_NAME="run-1",
            ARGO_POD_UID="1",
            ARGO_NODE_ID="run-1",
            ARGO_WORKFLOW_NAME="run",
            ARGO_WORKFLOW_UID="2",
            ARGO_TEMPLATE=json.dumps(template),
            ARGO_DEADLINE=later,
        ) as executor:
            eventually(lambda: labels().get(REPORTED) == "false", what="the report of its start")
            executor.terminate()
            eventually(lambda: labels().get(REPORTED) == "true", what="the report of its end")
            executor.wait(timeout=60)
    check_rights(results, ACCOUNT, roles)
