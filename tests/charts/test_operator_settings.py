"""What an administrator decides reaches the operator, and bounds its rights."""

from pathlib import Path

from rendering import (
    MONITORING,
    NAMESPACE,
    PLATFORM,
    Helm,
    Manifest,
    named,
    of_kind,
    settings_of,
    titles,
)

from nexus_models.sources.package import KNOWN
from nexus_operator.process.settings_file import read_settings
from nexus_operator.settings import Images, Scrape


def test_the_operator_reads_its_settings(helm: Helm, tmp_path: Path) -> None:
    values: Manifest = {
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
    values["platform"]["modelFileRoots"] = ["/weights"]
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
    assert settings.model_file_roots == ("/weights",)


def test_the_operator_is_told_whether_and_by_whom_runtimes_are_scraped(
    helm: Helm, platform: list[Manifest], tmp_path: Path
) -> None:
    """Also where the kinds are not installed yet: it notices when they come."""
    selector = {"matchLabels": {"kubernetes.io/metadata.name": "watchers"}}
    values: Manifest = {
        "metrics": {
            "serviceMonitor": {"enabled": True, "interval": "15s", "labels": {"release": "x"}}
        },
        "networkPolicy": {"metricsNamespaceSelector": selector},
    }
    file = tmp_path / "settings.yaml"
    for serves in (MONITORING, ""):
        objects = helm.template(PLATFORM, values, serves=serves)
        file.write_text(named(objects, "ConfigMap", "nexus-operator")["data"]["settings.yaml"])
        assert read_settings(file).scrape == Scrape(
            interval="15s", labels={"release": "x"}, namespaces=selector
        )
    assert "scrape" not in settings_of(platform)


def test_images_that_the_chart_does_not_build_are_those_of_the_operator(
    platform: list[Manifest],
) -> None:
    images = settings_of(platform)["images"]
    assert (images["vllm"], images["triton"]) == (Images().vllm, Images().triton)


def test_as_shipped_a_model_opens_no_file_of_its_pod(platform: list[Manifest]) -> None:
    assert settings_of(platform)["modelFileRoots"] == []


def test_as_shipped_a_model_comes_from_no_package_but_those_that_are_pinned(
    platform: list[Manifest],
) -> None:
    assert set(settings_of(platform)["modelPackages"]) == KNOWN.keys()
    told = named(platform, "ConfigMap", "nexus-platform")["data"]["NEXUS_MODEL_PACKAGES"]
    assert set(told.split(",")) == KNOWN.keys()


def test_namespaces_of_the_operator_bound_its_rights(helm: Helm) -> None:
    objects = helm.template(PLATFORM, {"operator": {"watchNamespaces": ["a", "b"]}})
    assert "ClusterRole/nexus-system-nexus-operator" not in titles(objects)
    bindings = of_kind(objects, "RoleBinding")
    held = {
        one["metadata"]["namespace"]
        for one in bindings
        if one["subjects"][0]["name"] == "nexus-operator"
    }
    assert held == {"a", "b", NAMESPACE}
    assert settings_of(objects)["watchNamespaces"] == ["a", "b"]
