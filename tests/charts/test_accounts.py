"""Which accounts the charts make, that a test holds each to what it uses, and who has a token."""

import pytest
from rendering import PLATFORM, ROOT, STACK, Helm, Manifest, of_kind

AUDITED = {
    "nexus-events": "tests/apiserver/test_sensor_rights.py",
    "nexus-gateway": "tests/apiserver/gateway/test_rights.py",
    "nexus-monitor": "tests/apiserver/test_monitor_rights.py",
    "nexus-operator": "tests/apiserver/faults/test_rights.py",
    "nexus-pipelines": "tests/apiserver/test_step_rights.py",
}
"""The test that reads, in an API server's audit log, what the account used."""
ALL = {"events": {"source": "webhook", "alerts": True, "alertsSecret": "alerts"}}
KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod")


@pytest.fixture(scope="module")
def objects(helm: Helm) -> list[Manifest]:
    """Both charts, hooks and tests included, with every account that there is."""
    return [*helm.template(PLATFORM, ALL), *helm.template(STACK)]


def test_each_account_is_held_to_what_it_uses(objects: list[Manifest]) -> None:
    made = {one["metadata"]["name"] for one in of_kind(objects, "ServiceAccount")}
    bound = {
        subject["name"]
        for kind in ("RoleBinding", "ClusterRoleBinding")
        for one in of_kind(objects, kind)
        for subject in one["subjects"]
    }
    assert made == bound == AUDITED.keys()
    assert [file for file in AUDITED.values() if not (ROOT / file).is_file()] == []


def test_a_pod_without_an_account_has_no_token(objects: list[Manifest]) -> None:
    with_account = set()
    for one in (found for kind in KINDS for found in of_kind(objects, kind)):
        spec = pod_of(one)
        if "serviceAccountName" in spec:
            with_account.add(spec["serviceAccountName"])
        else:
            assert spec["automountServiceAccountToken"] is False, one["metadata"]["name"]
    assert with_account == {"nexus-gateway", "nexus-monitor", "nexus-operator"}


def pod_of(one: Manifest) -> Manifest:
    spec: Manifest = one["spec"]
    if one["kind"] == "Pod":
        return spec
    spec = spec["jobTemplate"]["spec"] if one["kind"] == "CronJob" else spec
    pod: Manifest = spec["template"]["spec"]
    return pod
