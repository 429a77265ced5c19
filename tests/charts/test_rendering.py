"""What the charts render: names, definitions, workflows, images, secrets, hooks."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from rendering import (
    NAMESPACE,
    OWN_CREDENTIALS,
    PLATFORM,
    ROOT,
    STACK,
    Helm,
    HelmRefused,
    Manifest,
    named,
    of_kind,
    pod_specs,
    settings_of,
)


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
    assert accounts == {
        "nexus-operator", "nexus-gateway", "nexus-monitor", "nexus-pipelines", "nexus-events",
    }  # fmt: skip
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
        source["metadata"]["labels"] = {"app.kubernetes.io/part-of": "llmops-nexus"}
        assert rendered[source["metadata"]["name"]] == source


def test_definitions_can_be_left_out_and_let_go(helm: Helm) -> None:
    assert not of_kind(
        helm.template(PLATFORM, {"crds": {"enabled": False}}), "CustomResourceDefinition"
    )
    for one in of_kind(
        helm.template(PLATFORM, {"crds": {"keep": False}}), "CustomResourceDefinition"
    ):
        assert "annotations" not in one["metadata"]


def test_workflows_are_those_of_argo_with_our_images(helm: Helm) -> None:
    values = {
        "images": {
            "registry": "registry.example.org",
            "pipelines": {"repository": "steps", "tag": "1.2.3"},
            "trainer": {"repository": "training", "tag": "4.5.6"},
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
        for theirs, ours in (
            ("registry.example.org/steps:1.2.3", "IMAGE"),
            ("registry.example.org/training:4.5.6", "TRAINER"),
            ("shared-models", "nexus-models"),
        ):
            text = text.replace(theirs, ours)
        text = text.replace(
            '"secretRef": {"name": "stores"', '"secretRef": {"name": "nexus-platform"'
        )
        wanted = json.dumps(source)
        for name, ours in (("nexus-pipelines", "IMAGE"), ("nexus-trainer", "TRAINER")):
            wanted = re.sub(rf"ghcr\.io/llmops-nexus/{name}:[0-9.]+", ours, wanted)
        assert json.loads(text) == json.loads(wanted)


def test_every_process_is_told_where_models_and_their_registry_are(helm: Helm) -> None:
    def told(values: dict[str, Any]) -> dict[str, str]:
        maps = of_kind(helm.template(PLATFORM, values), "ConfigMap")
        return next(one["data"] for one in maps if one["metadata"]["name"] == "nexus-platform")

    assert told({})["NEXUS_MODELS_URL"] == "s3://nexus-models"
    assert told({})["NEXUS_TRACKING_URL"] == "http://nexus-mlflow:5000"
    places = {"modelsUrl": "s3://company-models", "trackingUrl": "https://mlflow.example.org"}
    elsewhere = told({"platform": places})
    assert elsewhere["NEXUS_MODELS_URL"] == "s3://company-models"
    assert elsewhere["NEXUS_TRACKING_URL"] == "https://mlflow.example.org"


def test_no_file_of_a_pod_is_open_to_models_and_golden_sets_unless_it_is_named(helm: Helm) -> None:
    """A step reads with the platform's rights: what lies in its pod is not its job's to name."""

    def told(values: Manifest) -> str | None:
        platform = named(helm.template(PLATFORM, values), "ConfigMap", "nexus-platform")
        roots: str | None = platform["data"].get("NEXUS_MODEL_FILE_ROOTS")
        return roots

    assert told({}) == ""
    assert told({"platform": {"modelFileRoots": ["/models/shared", "/golden"]}}) == (
        "/models/shared:/golden"
    )
    with pytest.raises(HelmRefused, match="modelFileRoots"):
        told({"platform": {"modelFileRoots": ["/models:/"]}})
    objects = helm.template(PLATFORM, {})
    templates = [one for one in objects if one["kind"].endswith("WorkflowTemplate")]
    steps = [
        one["container"]
        for flow in templates
        for one in flow["spec"]["templates"]
        if "container" in one
    ]
    assert len(steps) > 8
    for step in steps:
        assert {"configMapRef": {"name": "nexus-platform"}} in step["envFrom"]


def test_cluster_templates_have_no_namespace(helm: Helm) -> None:
    objects = helm.template(PLATFORM, {"workflows": {"templateKind": "ClusterWorkflowTemplate"}})
    templates = of_kind(objects, "ClusterWorkflowTemplate")
    assert templates
    assert all("namespace" not in one["metadata"] for one in templates)
    assert settings_of(objects)["workflowTemplateKind"] == "ClusterWorkflowTemplate"


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
    settings = settings_of(objects)
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


def test_gateway_and_sensor_share_one_token(helm: Helm, platform: list[Manifest]) -> None:
    for values, name in (({}, "nexus-notices"), ({"events": {"noticesSecret": "own"}}, "own")):
        objects = helm.template(PLATFORM, values)
        spec = dict(pod_specs(objects))["nexus-gateway"]
        (volume,) = [one for one in spec["volumes"] if one["name"] == "notices"]
        assert volume["secret"] == {"secretName": name, "optional": True}
        (settings,) = [
            yaml.safe_load(text)
            for one in of_kind(objects, "ConfigMap")
            for key, text in (one.get("data") or {}).items()
            if "noticesSecret" in text
        ]
        assert settings["events"]["noticesSecret"] == name
    token = named(platform, "Secret", "nexus-notices")["stringData"]["token"]
    assert len(token) == 40
    spoken = [one for one in platform if one["kind"] != "Secret"]
    assert token not in json.dumps(spoken)


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


def test_what_a_pod_was_started_with_rolls_it(helm: Helm, platform: list[Manifest]) -> None:
    changed = helm.template(PLATFORM, {"platform": {"milvusUri": "http://elsewhere:19530"}})
    for name in ("nexus-gateway", "nexus-embedder", "nexus-monitor"):
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


def _hashes(deployment: Manifest) -> Manifest:
    hashes: Manifest = deployment["spec"]["template"]["metadata"]["annotations"]
    return hashes


def _words(secret: Manifest) -> Iterator[str]:
    yield from {**secret.get("stringData", {}), **secret.get("data", {})}.values()
