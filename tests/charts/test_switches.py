"""Each part can be switched off or found elsewhere, and any switches go together."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import sampled_from, sets
from rendering import (
    OWN_CREDENTIALS,
    PLATFORM,
    STACK,
    Helm,
    HelmRefused,
    Manifest,
    named,
    of_kind,
    pod_specs,
    settings_of,
    titles,
)


@pytest.mark.parametrize(
    ("values", "gone"),
    [
        ({"jobs": {"migrate": {"enabled": False}}}, {"Job/nexus-migrate"}),
        ({"jobs": {"makeBuckets": {"enabled": False}}}, {"Job/nexus-make-buckets"}),
        ({"jobs": {"bucketNotify": {"enabled": False}}}, {"Job/nexus-bucket-notify"}),
        ({"events": {"source": "minio"}}, {"Job/nexus-bucket-notify"}),
        ({"eventBus": {"kind": "none"}}, {"EventBus/default"}),
        ({"models": {"existingClaim": "x"}}, {"PersistentVolumeClaim/nexus-models"}),
        (
            {"gateway": {"podDisruptionBudget": {"enabled": False}}},
            {"PodDisruptionBudget/nexus-gateway"},
        ),
        (
            {"monitor": {"enabled": False}},
            {
                "Deployment/nexus-monitor", "ServiceAccount/nexus-monitor",
                "ClusterRole/nexus-system-nexus-monitor", "NetworkPolicy/nexus-monitor",
                "ClusterRoleBinding/nexus-system-nexus-monitor",
                "ValidatingAdmissionPolicy/nexus-system-nexus-monitor",
                "ValidatingAdmissionPolicyBinding/nexus-system-nexus-monitor",
            },
        ),
        ({"gateway": {"apiKeys": {"anonymous": True}}}, {"Secret/nexus-gateway-keys"}),
        ({"gateway": {"apiKeys": {"existingSecret": "x"}}}, {"Secret/nexus-gateway-keys"}),
        ({"events": {"noticesSecret": "x"}}, {"Secret/nexus-notices"}),
        (
            {"events": {"source": "none"}},
            {
                "Job/nexus-bucket-notify", "EventBus/default", "ServiceAccount/nexus-events",
                "Secret/nexus-notices", "NetworkPolicy/nexus-bucket",
                "ValidatingAdmissionPolicy/nexus-system-nexus-events",
                "ValidatingAdmissionPolicyBinding/nexus-system-nexus-events",
            },
        ),
    ],
    ids=lambda one: str(sorted(one) if isinstance(one, set) else one),
)  # fmt: skip
def test_what_is_switched_off_is_not_there(
    helm: Helm, platform: list[Manifest], values: dict[str, Any], gone: set[str]
) -> None:
    assert titles(platform) - titles(helm.template(PLATFORM, values)) == gone


def test_without_the_monitor_nothing_reads_its_metrics(helm: Helm) -> None:
    shown = {
        "metrics": {
            "serviceMonitor": {"enabled": True},
            "prometheusRule": {"enabled": True},
            "dashboards": {"enabled": True},
        }
    }
    without = helm.template(PLATFORM, {**shown, "monitor": {"enabled": False}})
    readers = {"PodMonitor/nexus-monitor", "PrometheusRule/nexus-drift"}
    readers |= {"ConfigMap/nexus-dashboard-drift"}
    assert readers <= titles(helm.template(PLATFORM, shown))
    assert not readers & titles(without)
    assert "nexus_monitor" not in json.dumps(without)


SWITCHES: dict[str, Any] = {
    "crds.enabled": False,
    "crds.keep": False,
    "credentials": OWN_CREDENTIALS,
    "events.source": "none",
    "eventBus.kind": "native",
    "gateway.apiKeys.anonymous": True,
    "gateway.autoscaling.enabled": True,
    "gateway.ingress.enabled": True,
    "gateway.httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]},
    "gateway.podDisruptionBudget.enabled": False,
    "models.existingClaim": "models",
    "monitor.enabled": False,
    "monitor.topics": False,
    "operator.watchNamespaces": ["a"],
    "workflows.templateKind": "ClusterWorkflowTemplate",
    "jobs.migrate.enabled": False,
    "jobs.makeBuckets.enabled": False,
    "jobs.bucketNotify.enabled": False,
    "rbac.create": False,
    "admissionPolicy.enabled": False,
    "networkPolicy.enabled": False,
    "metrics.serviceMonitor.enabled": True,
    "metrics.prometheusRule.enabled": True,
    "metrics.dashboards.enabled": True,
}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(thrown=sets(sampled_from(sorted(SWITCHES)), min_size=2))
def test_any_switches_go_together(helm: Helm, thrown: set[str]) -> None:
    values: dict[str, Any] = {}
    for path in sorted(thrown):
        *folders, last = path.split(".")
        place = values
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = SWITCHES[path]
    objects = helm.template(PLATFORM, values)
    places = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    assert len(places) == len(set(places))
    claims = {one["metadata"]["name"] for one in of_kind(objects, "PersistentVolumeClaim")}
    secrets = {one["metadata"]["name"] for one in of_kind(objects, "Secret")}
    for _, spec in pod_specs(objects):
        for volume in spec.get("volumes", ()):
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims | {"models"}
            if "secret" in volume:
                assert volume["secret"]["secretName"] in secrets


@pytest.mark.parametrize("part", ["minio", "postgresql", "milvus", "mlflow", "nats"])
def test_each_store_can_be_elsewhere(helm: Helm, part: str) -> None:
    external = {
        "ledgerUrl": "postgresql+psycopg://u:p@elsewhere/nexus",
        "s3AccessKey": "elsewhere-key",
        "s3SecretKey": "elsewhere-secret",
    }
    objects = helm.template(STACK, {part: {"enabled": False}, "external": external})
    assert f"Deployment/nexus-{part}" not in titles(objects)
    platform = named(objects, "Secret", "nexus-platform")["stringData"]
    assert (platform["NEXUS_LEDGER_URL"] == external["ledgerUrl"]) == (part == "postgresql")
    assert (platform["NEXUS_S3_ACCESS_KEY"] == "elsewhere-key") == (part == "minio")


def test_a_store_elsewhere_needs_its_credentials(helm: Helm) -> None:
    with pytest.raises(HelmRefused, match=r"external\.ledgerUrl is needed"):
        helm.template(STACK, {"postgresql": {"enabled": False}})
    with pytest.raises(HelmRefused, match=r"external\.s3AccessKey is needed"):
        helm.template(STACK, {"minio": {"enabled": False}})
    with pytest.raises(HelmRefused, match=r"credentials\.ledgerUrl is needed"):
        helm.template(PLATFORM, {"credentials": {"existingSecret": ""}})


def test_a_route_of_no_gateway_is_refused(helm: Helm) -> None:
    with pytest.raises(HelmRefused, match="must name a Gateway"):
        helm.template(PLATFORM, {"gateway": {"httpRoute": {"enabled": True}}})


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://s3.eu-central-1.amazonaws.com",
        "https://company.S3.dualstack.us-gov-west-1.amazonaws.com:443/",
        "https://s3.cn-north-1.amazonaws.com.cn",
        "https://bucket.vpce-1a2b-3c.s3.us-east-1.vpce.amazonaws.com",
        "https://s3-external-1.amazonaws.com",
        "https://storage.googleapis.com",
    ],
)
def test_listening_to_a_store_that_refuses_it_is_refused(helm: Helm, endpoint: str) -> None:
    told = f"events.source minio cannot work with platform.s3.endpoint {endpoint}:"
    with pytest.raises(HelmRefused, match=re.escape(told)):
        helm.template(PLATFORM, heard_by("minio", endpoint))


@pytest.mark.parametrize(
    ("source", "endpoint"),
    [
        ("none", "https://s3.eu-central-1.amazonaws.com"),
        ("webhook", "https://s3.eu-central-1.amazonaws.com"),  # for alerts, without the Job
        ("minio", "https://s3-4711.eu-central-1.elb.amazonaws.com"),
        ("minio", "http://s3-4711.elb.eu-central-1.amazonaws.com:9000"),
        ("minio", "https://minio.example.org/s3.amazonaws.com"),
        ("minio", "https://s3.amazonaws.com.example.org"),
    ],
)
def test_a_store_of_any_other_name_may_be_listened_to(
    helm: Helm, source: str, endpoint: str
) -> None:
    objects = helm.template(PLATFORM, heard_by(source, endpoint))
    assert settings_of(objects)["events"]["source"] == source


def heard_by(source: str, endpoint: str) -> dict[str, Any]:
    return {"platform": {"s3": {"endpoint": endpoint}}, "events": {"source": source}}


def test_secrets_of_the_stack_can_be_brought(helm: Helm, stack: list[Manifest]) -> None:
    objects = helm.template(STACK, {"secrets": {"generate": False}})
    assert not of_kind(objects, "Secret")
    made = {one["metadata"]["name"] for one in of_kind(stack, "Secret")}
    assert set(_secret_references(objects)) <= made


def test_a_store_runs_another_program_when_told(helm: Helm) -> None:
    values = {
        "milvus": {
            "image": {"registry": "", "repository": "local/milvus-lite", "tag": "test"},
            "command": ["milvus-lite"],
            "args": ["server", "--data-dir", "/var/lib/milvus"],
            "healthPort": 0,
        }
    }
    (container,) = dict(pod_specs(helm.template(STACK, values)))["nexus-milvus"]["containers"]
    assert container["image"] == "local/milvus-lite:test"
    assert container["command"] == ["milvus-lite"]
    assert container["readinessProbe"]["tcpSocket"] == {"port": "main"}


def test_replicas_are_left_to_the_autoscaler(helm: Helm) -> None:
    objects = helm.template(PLATFORM, {"gateway": {"autoscaling": {"enabled": True}}})
    assert "replicas" not in named(objects, "Deployment", "nexus-gateway")["spec"]
    assert "HorizontalPodAutoscaler/nexus-gateway" in titles(objects)


def _secret_references(body: object) -> Iterator[str]:
    if isinstance(body, dict):
        for key, value in body.items():
            if key == "secretKeyRef" or (key == "secret" and isinstance(value, dict)):
                yield value.get("name") or value["secretName"]
            yield from _secret_references(value)
    elif isinstance(body, list):
        for one in body:
            yield from _secret_references(one)
