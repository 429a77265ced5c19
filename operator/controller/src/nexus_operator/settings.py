"""What the administrator of a platform decides, as one immutable value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from nexus_api.meta import Manifest


@dataclass(frozen=True, kw_only=True)
class Images:
    """Container images by role, each by version or digest, never `latest`."""

    gateway: str = "ghcr.io/llmops-nexus/nexus-gateway:0.1.0"
    embedder: str = "ghcr.io/llmops-nexus/nexus-embedder:0.1.0"
    pipelines: str = "ghcr.io/llmops-nexus/nexus-pipelines:0.1.0"
    llamacpp: str = "ghcr.io/llmops-nexus/nexus-runtime-llamacpp:0.1.0"


@dataclass(frozen=True, kw_only=True)
class ResourceProfile:
    """What a runtime asks of a node; a ServingModel names a profile, it never writes one."""

    requests: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    runtime_class: str = ""

    def resources(self) -> Manifest:
        """Return the `resources` of a container."""
        named = {"requests": dict(self.requests), "limits": dict(self.limits)}
        return {key: value for key, value in named.items() if value}


_DEFAULT_PROFILES: Mapping[str, ResourceProfile] = MappingProxyType(
    {"default": ResourceProfile(requests={"cpu": "500m", "memory": "512Mi"})}
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the platform lives and what it offers; set by the chart, or by `nexus up`."""

    platform_namespace: str = "nexus-system"
    images: Images = field(default_factory=Images)
    engines: frozenset[str] = frozenset({"llamacpp"})
    """Runtimes that models may use here."""
    profiles: Mapping[str, ResourceProfile] = field(default_factory=lambda: _DEFAULT_PROFILES)
    model_cache: str = "/models"
    """Where the model cache is mounted in a runtime."""
    model_cache_claim: str = "nexus-models"
    """PersistentVolumeClaim of the model cache, in the namespace of the ServingModel."""
    workflow_template_kind: Literal["WorkflowTemplate", "ClusterWorkflowTemplate"] = (
        "WorkflowTemplate"
    )
