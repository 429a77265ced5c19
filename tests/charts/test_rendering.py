"""What the charts render, by the values that they are given."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import (
    NAMESPACE,
    PLATFORM,
    ROOT,
    STACK,
    Helm,
    HelmRefused,
    Manifest,
    named,
    of_kind,
    pod_specs,
)

from nexus_operator.process.settings_file import read_settings
from nexus_operator.settings import Images

OWN_CREDENTIALS = {
    "existingSecret": "",
    "ledgerUrl": "postgresql+psycopg://nexus:s3cr3t-ledger@db/nexus",
    "s3AccessKey": "s3cr3t-access",
    "s3SecretKey": "s3cr3t-secret",
    "milvusToken": "s3cr3t-token",
}


@pytest.fixture(scope="module")
def platform(helm: Helm) -> list[Manifest]:
    return helm.template(PLATFORM)


@pytest.fixture(scope="module")
def stack(helm: Helm) -> list[Manifest]:
    return helm.template(STACK)


@pytest.mark.parametrize("chart", [PLATFORM, STACK], ids=lambda path: path.name)
def test_helm_finds_nothing_to_complain_of(helm: Helm, chart: Any) -> None:
    said = helm.run("lint", "--strict", "--kube-version", "1.34.4", str(chart))
    assert "0 chart(s) failed" in said


def test_names_that_others_rely_on(platform: list[Manifest], stack: list[Manifest]) -> None:
    services = {one["metadata"]["name"] for one in of_kind([*platform, *stack], "Service")}
    assert services == {
        "nexus-gateway", "nexus-embedder", "nexus-minio", "nexus-postgresql", "nexus-milvus",
        "nexus-mlflow", "nexus-nats",
    }  # fmt: skip
    accounts = {one["metadata"]["name"] for one in of_kind(platform, "ServiceAccount")}
    assert accounts == {"nexus-operator", "nexus-gateway", "nexus-pipelines", "nexus-events"}
    environment = named(platform, "ConfigMap", "nexus-platform")["data"]
    assert environment["NEXUS_EMBEDDER_URL"] == f"http://nexus-embedder.{NAMESPACE}.svc"
    assert environment["NEXUS_S3_ENDPOINT"] == "http://nexus-minio:9000"


def test_definitions_are_those_of_the_manifests(platform: list[Manifest]) -> None:
    rendered = {
        one["metadata"]["name"]: one for one in of_kind(platform, "CustomResourceDefinition")
    }
    sources = [yaml.safe_load(p.read_text()) for p in (ROOT / "manifests/crds").glob("*.yaml")]
    assert len(sources) == 3
    for source in sources:
        source["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
        assert rendered[source["metadata"]["name"]] == source


def test_definitions_can_be_left_out_and_let_go(helm: Helm) -> None:
    assert not of_kind(
        helm.template(PLATFORM, {"crds": {"enabled": False}}), "CustomResourceDefinition"
    )
    for one in of_kind(
        helm.template(PLATFORM, {"crds": {"keep": False}}), "CustomResourceDefinition"
    ):
        assert "annotations" not in one["metadata"]


def test_workflows_are_those_of_argo_with_our_image(helm: Helm) -> None:
    values = {
        "images": {
            "registry": "registry.example.org",
            "pipelines": {"repository": "steps", "tag": "1.2.3"},
            "pullSecrets": ["one", "two"],
        },
        "credentials": {"existingSecret": "stores"},
        "models": {"existingClaim": "shared-models"},
    }
    rendered = of_kind(helm.template(PLATFORM, values), "WorkflowTemplate")
    sources = {p.stem: yaml.safe_load(p.read_text()) for p in (ROOT / "argo").glob("*.yaml")}
    assert {one["metadata"]["name"] for one in rendered} == sources.keys()
    for one in rendered:
        source = sources[one["metadata"]["name"]]
        assert one["metadata"].pop("namespace") == NAMESPACE
        assert one["spec"].pop("imagePullSecrets") == [{"name": "one"}, {"name": "two"}]
        text = json.dumps(one)
        assert "registry.example.org/steps:1.2.3" in text
        text = text.replace("registry.example.org/steps:1.2.3", "IMAGE").replace(
            "shared-models", "nexus-models"
        )
        text = text.replace(
            '"secretRef": {"name": "stores"', '"secretRef": {"name": "nexus-platform"'
        )
        wanted = re.sub(
            r"ghcr\.io/llmops-nexus/nexus-pipelines:[0-9.]+", "IMAGE", json.dumps(source)
        )
        assert json.loads(text) == json.loads(wanted)


def test_cluster_templates_have_no_namespace(helm: Helm) -> None:
    objects = helm.template(PLATFORM, {"workflows": {"templateKind": "ClusterWorkflowTemplate"}})
    templates = of_kind(objects, "ClusterWorkflowTemplate")
    assert templates
    assert all("namespace" not in one["metadata"] for one in templates)
    assert _settings(objects)["workflowTemplateKind"] == "ClusterWorkflowTemplate"


def test_images_by_registry_tag_and_digest(helm: Helm) -> None:
    digest = "sha256:" + "a" * 64
    values = {
        "global": {"imageRegistry": "mirror.example.org", "imagePullSecrets": ["mirror"]},
        "images": {"gateway": {"digest": digest}, "embedder": {"tag": "2.0.0"}},
    }
    objects = helm.template(PLATFORM, values)
    used = {name: spec["containers"][0]["image"] for name, spec in pod_specs(objects)}
    assert used["nexus-gateway"] == f"mirror.example.org/llmops-nexus/nexus-gateway@{digest}"
    assert used["nexus-embedder"] == "mirror.example.org/llmops-nexus/nexus-embedder:2.0.0"
    for name, spec in pod_specs(objects):
        assert spec["imagePullSecrets"] == [{"name": "mirror"}], name
    settings = _settings(objects)
    assert settings["images"]["llamacpp"].startswith("mirror.example.org/")
    assert settings["imagePullSecrets"] == ["mirror"]


def test_an_empty_registry_leaves_the_repository_alone(helm: Helm) -> None:
    values = {"images": {"registry": "", "gateway": {"repository": "local/gateway", "tag": "x"}}}
    spec = dict(pod_specs(helm.template(PLATFORM, values)))["nexus-gateway"]
    assert spec["containers"][0]["image"] == "local/gateway:x"


def test_secrets_stand_in_secrets_alone(helm: Helm) -> None:
    objects = helm.template(PLATFORM, {"credentials": OWN_CREDENTIALS})
    for one in objects:
        if one["kind"] != "Secret":
            assert "s3cr3t" not in json.dumps(one), one["metadata"]["name"]
    platform = named(objects, "Secret", "nexus-platform")
    assert platform["stringData"]["NEXUS_MILVUS_TOKEN"] == "s3cr3t-token"


@pytest.mark.parametrize("chart", [PLATFORM, STACK], ids=lambda path: path.name)
def test_what_is_generated_stands_in_secrets_alone(helm: Helm, chart: Any) -> None:
    objects = helm.template(chart)
    secret = {v for one in of_kind(objects, "Secret") for v in _words(one) if len(v) >= 20}
    assert secret
    rest = json.dumps([one for one in objects if one["kind"] != "Secret"])
    assert [value for value in secret if value in rest] == []


def test_the_gateway_sees_hashes_of_keys_only(platform: list[Manifest]) -> None:
    spec = dict(pod_specs(platform))["nexus-gateway"]
    (volume,) = [one for one in spec["volumes"] if one["name"] == "keys"]
    assert volume["secret"]["items"] == [{"key": "keys.json", "path": "keys.json"}]
    secret = named(platform, "Secret", "nexus-gateway-keys")["stringData"]
    assert secret["admin-key"] not in secret["keys.json"]
    roles = [entry["roles"] for entry in json.loads(secret["keys.json"])]
    assert roles == [["admin"], ["metrics"]]


def test_the_operator_has_no_credentials_of_stores(platform: list[Manifest]) -> None:
    (container,) = dict(pod_specs(platform))["nexus-operator"]["containers"]
    assert "envFrom" not in container
    assert "secret" not in json.dumps(container["env"]).lower()


def test_jobs_come_before_everything_and_need_nothing_of_it(helm: Helm) -> None:
    objects = helm.template(PLATFORM, {"credentials": OWN_CREDENTIALS})
    jobs = of_kind(objects, "Job")
    names = [one["metadata"]["name"] for one in jobs]
    assert names == ["nexus-migrate", "nexus-make-buckets", "nexus-bucket-notify"]
    weights = [int(one["metadata"]["annotations"]["helm.sh/hook-weight"]) for one in jobs]
    assert weights == sorted(weights)
    secret = named(objects, "Secret", "nexus-platform-hook")
    assert int(secret["metadata"]["annotations"]["helm.sh/hook-weight"]) < weights[0]
    for one in [*jobs, secret]:
        assert one["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    for one in jobs:
        spec = one["spec"]["template"]["spec"]
        assert "serviceAccountName" not in spec
        assert spec["containers"][0]["envFrom"] == [{"secretRef": {"name": "nexus-platform-hook"}}]
        assert {"name": "tmp", "emptyDir": {}} in spec["volumes"]


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
        ({"gateway": {"apiKeys": {"anonymous": True}}}, {"Secret/nexus-gateway-keys"}),
        ({"gateway": {"apiKeys": {"existingSecret": "x"}}}, {"Secret/nexus-gateway-keys"}),
        (
            {"events": {"source": "none"}},
            {
                "Job/nexus-bucket-notify", "EventBus/default", "ServiceAccount/nexus-events",
                "ClusterRole/nexus-system-nexus-events", "NetworkPolicy/nexus-bucket",
                "ClusterRoleBinding/nexus-system-nexus-events",
                "ValidatingAdmissionPolicy/nexus-system-nexus-events",
                "ValidatingAdmissionPolicyBinding/nexus-system-nexus-events",
            },
        ),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_switched_off_is_not_there(
    helm: Helm, platform: list[Manifest], values: dict[str, Any], gone: set[str]
) -> None:
    assert _titles(platform) - _titles(helm.template(PLATFORM, values)) == gone


@pytest.mark.parametrize("part", ["minio", "postgresql", "milvus", "mlflow", "nats"])
def test_each_store_can_be_elsewhere(helm: Helm, part: str) -> None:
    external = {
        "ledgerUrl": "postgresql+psycopg://u:p@elsewhere/nexus",
        "s3AccessKey": "elsewhere-key",
        "s3SecretKey": "elsewhere-secret",
    }
    objects = helm.template(STACK, {part: {"enabled": False}, "external": external})
    assert f"Deployment/nexus-{part}" not in _titles(objects)
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
    assert "HorizontalPodAutoscaler/nexus-gateway" in _titles(objects)


def test_what_a_pod_was_started_with_rolls_it(helm: Helm, platform: list[Manifest]) -> None:
    changed = helm.template(PLATFORM, {"platform": {"milvusUri": "http://elsewhere:19530"}})
    for name in ("nexus-gateway", "nexus-embedder"):
        assert _hashes(named(platform, "Deployment", name)) != _hashes(
            named(changed, "Deployment", name)
        )
    more = helm.template(PLATFORM, {"operator": {"engines": ["llamacpp"]}})
    assert _hashes(named(platform, "Deployment", "nexus-operator")) != _hashes(
        named(more, "Deployment", "nexus-operator")
    )
    assert _hashes(named(platform, "Deployment", "nexus-gateway")) == _hashes(
        named(more, "Deployment", "nexus-gateway")
    )


def test_the_operator_reads_its_settings(helm: Helm, tmp_path: Path) -> None:
    values = {
        "images": {"pullSecrets": ["registry"]},
        "operator": {"watchNamespaces": ["a"], "engines": ["llamacpp", "vllm"]},
        "profiles": {
            "big": {
                "limits": {"nvidia.com/gpu": "2"},
                "nodeSelector": {"gpu": "h200"},
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
                "runtimeClass": "nvidia",
                "sharedMemory": "16Gi",
            }
        },
        "modelCache": {"mode": "claim", "storageClass": "fast", "size": "80Gi"},
        "platform": {"s3": {"endpoint": "https://s3.example.org"}, "bucketUrl": "s3://papers"},
    }
    config = named(helm.template(PLATFORM, values), "ConfigMap", "nexus-operator")
    file = tmp_path / "settings.yaml"
    file.write_text(config["data"]["settings.yaml"])
    settings = read_settings(file)
    assert settings.platform_namespace == NAMESPACE
    assert settings.watch_namespaces == ("a",)
    assert settings.engines == {"llamacpp", "vllm"}
    assert settings.image_pull_secrets == ("registry",)
    assert settings.profiles["big"].gpus() == 2
    assert settings.profiles["big"].shared_memory == "16Gi"
    assert settings.profiles.keys() == {"default", "gpu", "big"}
    assert settings.model_cache.mode == "claim"
    assert settings.events.source == "webhook"
    assert settings.events.bucket == "papers"
    assert (settings.events.endpoint, settings.events.insecure) == ("s3.example.org", False)
    assert settings.events.credentials_secret == "nexus-platform"


def test_images_that_the_chart_does_not_build_are_those_of_the_operator(
    platform: list[Manifest],
) -> None:
    images = _settings(platform)["images"]
    assert (images["vllm"], images["triton"]) == (Images().vllm, Images().triton)


def test_namespaces_of_the_operator_bound_its_rights(helm: Helm) -> None:
    objects = helm.template(PLATFORM, {"operator": {"watchNamespaces": ["a", "b"]}})
    assert "ClusterRole/nexus-system-nexus-operator" not in _titles(objects)
    bindings = of_kind(objects, "RoleBinding")
    held = {
        one["metadata"]["namespace"]
        for one in bindings
        if one["subjects"][0]["name"] == "nexus-operator"
    }
    assert held == {"a", "b", NAMESPACE}
    assert _settings(objects)["watchNamespaces"] == ["a", "b"]


def _titles(objects: list[Manifest]) -> set[str]:
    return {f"{one['kind']}/{one['metadata']['name']}" for one in objects}


def _settings(objects: list[Manifest]) -> Manifest:
    text = named(objects, "ConfigMap", "nexus-operator")["data"]["settings.yaml"]
    settings: Manifest = yaml.safe_load(text)
    return settings


def _hashes(deployment: Manifest) -> Manifest:
    hashes: Manifest = deployment["spec"]["template"]["metadata"]["annotations"]
    return hashes


def _words(secret: Manifest) -> Iterator[str]:
    yield from {**secret.get("stringData", {}), **secret.get("data", {})}.values()


def _secret_references(body: object) -> Iterator[str]:
    if isinstance(body, dict):
        for key, value in body.items():
            if key == "secretKeyRef" or (key == "secret" and isinstance(value, dict)):
                yield value.get("name") or value["secretName"]
            yield from _secret_references(value)
    elif isinstance(body, list):
        for one in body:
            yield from _secret_references(one)
