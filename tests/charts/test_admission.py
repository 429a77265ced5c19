"""What the charts render is what a real API server takes, in a namespace that is `restricted`."""

import base64
from typing import Any

import pytest
import yaml
from api_server import Cluster
from rendering import (
    KUBERNETES,
    NAMESPACE,
    OWN_CREDENTIALS,
    PLATFORM,
    STACK,
    HelmRefused,
    Manifest,
    of_kind,
    pod_specs,
)

EVERYTHING: dict[str, Any] = {
    "credentials": {
        "existingSecret": "",
        "ledgerUrl": "postgresql+psycopg://u:p@db/nexus",
        "s3AccessKey": "key",
        "s3SecretKey": "secret",
        "milvusToken": "token",
    },
    "images": {"pullSecrets": ["registry"]},
    "gateway": {
        "autoscaling": {"enabled": True},
        "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls"},
        "httpRoute": {
            "enabled": True,
            "parentRefs": [{"name": "public", "namespace": "gateways"}],
            "hostnames": ["nexus.example.org"],
        },
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "nodeSelector": {"disk": "ssd"},
    },
    "networkPolicy": {
        "gatewayNamespaceSelector": {"matchLabels": {"team": "a"}},
        "eventsFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
    },
    "metrics": {
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "dashboards": {"enabled": True},
    },
}
MADE = (
    ("credentials.existingSecret", "Secret", "nexus-platform"),
    ("gateway.apiKeys.existingSecret", "Secret", "nexus-gateway-keys"),
    ("events.noticesSecret", "Secret", "nexus-notices"),
    ("models.existingClaim", "PersistentVolumeClaim", "nexus-models"),
)
"""Values by which the chart leaves out what it made, and Helm deletes it."""
STARTED_WITH = "llmops.nexus/platform-hash"
# The name of the user of MinIO, which is `nexus`.
PUBLIC = {"user", "NEXUS_S3_ACCESS_KEY"}
CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": EVERYTHING,
    "namespaced": {"operator": {"watchNamespaces": [NAMESPACE]}},
    "native bus": {"eventBus": {"kind": "native"}},
    "cluster templates": {"workflows": {"templateKind": "ClusterWorkflowTemplate"}},
    "no events": {"events": {"source": "none"}, "admissionPolicy": {"enabled": False}},
}


@pytest.mark.apiserver
@pytest.mark.parametrize("case", CASES)
def test_every_object_of_the_platform_is_admitted(cluster: Cluster, case: str) -> None:
    objects = cluster.helm.template(PLATFORM, CASES[case])
    refused = {f"{o['kind']}/{o['metadata']['name']}": cluster.judge(o) for o in objects}
    assert {name: why for name, why in refused.items() if why} == {}
    assert len(objects) > 20


@pytest.mark.apiserver
def test_every_object_of_the_stack_is_admitted(cluster: Cluster) -> None:
    objects = cluster.helm.template(STACK)
    refused = {f"{o['kind']}/{o['metadata']['name']}": cluster.judge(o) for o in objects}
    assert {name: why for name, why in refused.items() if why} == {}


@pytest.mark.apiserver
@pytest.mark.parametrize("chart", [PLATFORM, STACK], ids=lambda path: path.name)
def test_every_pod_is_restricted(cluster: Cluster, chart: Any) -> None:
    _accounts(cluster)
    specs = list(pod_specs(cluster.helm.template(chart)))
    refused = {name: cluster.judge(_pod(name, spec)) for name, spec in specs}
    assert {name: why for name, why in refused.items() if why} == {}
    assert len(specs) >= 5
    for name, spec in specs:
        assert spec["enableServiceLinks"] is False, name
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name


@pytest.mark.apiserver
def test_a_pod_that_is_not_restricted_would_be_refused(cluster: Cluster) -> None:
    _accounts(cluster)
    spec = dict(pod_specs(cluster.helm.template(PLATFORM)))["nexus-gateway"]
    del spec["containers"][0]["securityContext"]["capabilities"]
    assert "violates PodSecurity" in cluster.judge(_pod("nexus-gateway", spec))


@pytest.mark.apiserver
def test_an_upgrade_keeps_passwords_and_certificates(cluster: Cluster) -> None:
    install = ("upgrade", "--install", "stack", str(STACK), "--namespace", NAMESPACE)
    said = cluster.helm.run(*install)
    before = _secrets(cluster)
    assert before.keys() >= {"nexus-platform", "nexus-minio", "nexus-nats-tls"}
    said += cluster.helm.run(*install, "--set", "minio.resources.limits.memory=2Gi")
    assert _secrets(cluster) == before
    cluster.helm.run("uninstall", "stack", "--namespace", NAMESPACE)
    assert _secrets(cluster) == before, "they open the volumes, which stay too"
    said += cluster.helm.run(*install)
    assert _secrets(cluster) == before
    for values in before.values():
        for key, value in values.items():
            text = base64.b64decode(value).decode()
            assert key in PUBLIC or text not in said


@pytest.mark.apiserver
def test_the_platform_installs_upgrades_and_leaves(cluster: Cluster) -> None:
    """Hooks and readiness need a node; what is installed here are the objects."""
    own = ",".join(f"credentials.{name}={value}" for name, value in OWN_CREDENTIALS.items())
    arguments = (str(PLATFORM), "--namespace", NAMESPACE, "--no-hooks", "--set", own)
    there: Manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "nexus-platform"}}
    for one in (there, *of_kind(cluster.helm.template(PLATFORM), "ServiceAccount")):
        cluster.control_plane.client.delete(cluster.one(one))
    said = cluster.helm.run("install", "nexus", *arguments)
    assert "kubectl -n nexus-system rollout status" in said
    keys = cluster.get("v1", "Secret", "nexus-gateway-keys")["data"]
    token = cluster.get("v1", "Secret", "nexus-notices")["data"]
    assert base64.b64decode(token["token"]).decode() not in said
    assert base64.b64decode(keys["admin-key"]).decode() not in said
    changed = ("gateway.replicas=3", "metrics.serviceMonitor.enabled=true")
    said = cluster.helm.run("upgrade", "nexus", *arguments, "--set", ",".join(changed))
    assert "is left out" not in said
    monitor = cluster.get("monitoring.coreos.com/v1", "ServiceMonitor", "nexus-gateway")
    assert monitor["spec"]["endpoints"]
    assert cluster.get("v1", "Secret", "nexus-gateway-keys")["data"] == keys
    assert cluster.get("v1", "Secret", "nexus-notices")["data"] == token
    assert cluster.get("apps/v1", "Deployment", "nexus-gateway")["spec"]["replicas"] == 3
    for value, kind, name in MADE:
        with pytest.raises(HelmRefused, match=f"{value} names the {kind} {name}, which this rel"):
            cluster.helm.run("upgrade", "nexus", *arguments, "--set", f"{value}={name}")
    _keep_what_was_made(cluster)
    values = ",".join(f"{value}={name}" for value, _, name in MADE)
    cluster.helm.run("upgrade", "nexus", *arguments, "--set", values)
    cluster.helm.run("uninstall", "nexus", "--namespace", NAMESPACE)
    assert cluster.get("v1", "Secret", "nexus-gateway-keys")["data"] == keys
    assert all(cluster.get("v1", kind, name) for _, kind, name in MADE)
    kept = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ragindexes.llmops.nexus"
    assert cluster.control_plane.client.get(kept).is_success


def _keep_what_was_made(cluster: Cluster) -> None:
    """Do as the refusal says."""
    note = {"metadata": {"annotations": {"helm.sh/resource-policy": "keep"}}}
    merge = {"content-type": "application/merge-patch+json"}
    for _, kind, name in MADE:
        one: Manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
        answer = cluster.control_plane.client.patch(cluster.one(one), json=note, headers=merge)
        assert answer.is_success, answer.text


@pytest.mark.apiserver
def test_a_secret_that_changed_rolls_what_was_started_with_it(cluster: Cluster) -> None:
    secret: Manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "own"}}
    place = cluster.one(secret)
    own = {
        "credentials": {"existingSecret": "own"},
        "gateway": {"apiKeys": {"anonymous": True}},
        "events": {"noticesSecret": "own"},
    }

    def hashes() -> list[str]:
        asked = ("nexus", str(PLATFORM), "--namespace", NAMESPACE, "--kube-version", KUBERNETES)
        said = cluster.helm.run("template", *asked, "--dry-run=server", values=own)
        objects = yaml.load_all(said, yaml.CSafeLoader)
        deployments = of_kind([one for one in objects if one], "Deployment")
        notes = [one["spec"]["template"]["metadata"]["annotations"] for one in deployments]
        return [one[STARTED_WITH] for one in notes if STARTED_WITH in one]

    def put(password: str) -> None:
        data = {"NEXUS_S3_SECRET_KEY": base64.b64encode(password.encode()).decode()}
        answer = cluster.control_plane.client.patch(
            place,
            params={"fieldManager": "test", "force": "true"},
            json={**secret, "data": data},
            headers={"content-type": "application/apply-patch+yaml"},
        )
        assert answer.is_success, answer.text

    put("first")
    before, offline = hashes(), cluster.helm.template(PLATFORM, own)
    assert len(before) == len(("gateway", "embedder", "monitor"))
    assert hashes() == before
    put("rotated")
    assert not set(hashes()) & set(before)
    assert cluster.helm.template(PLATFORM, own) == offline, "Argo CD would see a drift"
    cluster.control_plane.client.delete(place)


def _accounts(cluster: Cluster) -> None:
    """Make the accounts that pods name, as nobody else does without controllers."""
    accounts = of_kind(cluster.helm.template(PLATFORM), "ServiceAccount")
    for name in ("default", *(one["metadata"]["name"] for one in accounts)):
        account: Manifest = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name},
        }
        answer = cluster.control_plane.client.post(cluster.url(account), json=account)
        assert answer.status_code in {201, 409}, answer.text


def _pod(name: str, spec: Manifest) -> Manifest:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def _secrets(cluster: Cluster) -> dict[str, dict[str, str]]:
    url = f"/api/v1/namespaces/{NAMESPACE}/secrets"
    listed = cluster.control_plane.client.get(url).json()["items"]
    ours = [one for one in listed if one["type"] == "Opaque"]
    return {one["metadata"]["name"]: one["data"] for one in ours}
