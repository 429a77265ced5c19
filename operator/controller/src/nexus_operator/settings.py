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
    trainer: str = "ghcr.io/llmops-nexus/nexus-trainer:0.1.0"
    evaluator: str = ""
    """The step with vLLM or Triton beside it; without one, jobs for models of these get no runs."""
    llamacpp: str = "ghcr.io/llmops-nexus/nexus-runtime-llamacpp:0.1.0"
    vllm: str = "docker.io/vllm/vllm-openai:v0.32.0"
    triton: str = "nvcr.io/nvidia/tritonserver:25.10-vllm-python-py3"


@dataclass(frozen=True, kw_only=True)
class ResourceProfile:
    """What a runtime asks of a node; a ServingModel names a profile, it never writes one."""

    requests: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    runtime_class: str = ""
    shared_memory: str = ""
    """Size of /dev/shm, by which processes of several GPUs talk; empty: the runtime's own."""

    def gpus(self) -> int:
        """Return how many GPUs one replica gets, of whatever make; 0 for none."""
        counted = (count for name, count in self.limits.items() if name in _GPU_RESOURCES)
        return sum(int(count) for count in counted)

    def resources(self) -> Manifest:
        """Return the `resources` of a container."""
        named = {"requests": dict(self.requests), "limits": dict(self.limits)}
        return {key: value for key, value in named.items() if value}


_GPU_RESOURCES = frozenset({"nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915"})

_DEFAULT_PROFILES: Mapping[str, ResourceProfile] = MappingProxyType(
    {"default": ResourceProfile(requests={"cpu": "500m", "memory": "512Mi"})}
)


@dataclass(frozen=True, kw_only=True)
class ModelCache:
    """Where runtimes keep weights.

    `shared`: a claim that is there already, on a volume that many nodes can mount.  `claim`: one
    ReadWriteMany claim for each model, made by the operator.  `ephemeral`: one ReadWriteOnce volume
    for each pod, which comes and goes with it.
    """

    mode: Literal["shared", "claim", "ephemeral"] = "shared"
    claim: str = "nexus-models"
    """The shared claim, in the namespace of the ServingModel."""
    storage_class: str = ""
    """Class of the volumes that are made; empty for the cluster's default."""
    size: str = "50Gi"
    """Size of the volumes that are made."""
    path: str = "/models"
    """Where the cache is mounted in a runtime."""


@dataclass(frozen=True, kw_only=True)
class Events:
    """How an object put into a bucket is told to the platform.

    `webhook`: the store posts to an endpoint of ours, as MinIO's notify_webhook does.  `minio`:
    Argo Events listens to the store itself.  `none`: nobody tells, the interval finds it.
    """

    source: Literal["webhook", "minio", "none"] = "none"
    bucket: str = "nexus"
    """The platform's bucket: where the documents of an index without a bucket of its own lie."""
    event_bus: str = "default"
    service_account: str = "nexus-events"
    """May get and patch FineTuneJobs where alerts are taken, nothing else."""
    notices_secret: str = "nexus-notices"  # noqa: S105 - the name of a Secret, not one
    """Secret of the platform's namespace whose key `token` the gateway asks the Sensor for."""
    auth_secret: str = ""
    """webhook: Secret of the platform's namespace whose key `token` a caller has to send."""
    endpoint: str = "nexus-minio:9000"
    """minio: host and port of the store."""
    insecure: bool = True
    """minio: whether the store is spoken to without TLS."""
    credentials_secret: str = "nexus-platform"  # noqa: S105 - the name of a Secret, not one
    """minio: Secret of the platform's namespace that has NEXUS_S3_ACCESS_KEY and _SECRET_KEY."""
    alerts: bool = False
    """Whether Alertmanager's webhook is taken, which asks FineTuneJobs for runs."""
    alerts_secret: str = ""
    """Secret of the platform's namespace whose key `token` Alertmanager has to send."""


@dataclass(frozen=True, kw_only=True)
class Scrape:
    """How Prometheus reads what runtimes tell of themselves: a PodMonitor for each model."""

    interval: str = "30s"
    labels: Mapping[str, str] = field(default_factory=dict)
    """By which a Prometheus selects its monitors."""
    namespaces: Mapping[str, Any] = field(default_factory=dict)
    """Selector of the namespaces from which it comes; empty for all."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The operator's own Deployment: what it makes for the whole platform goes with it."""

    name: str
    uid: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the platform lives and what it offers; set by the chart, or by `nexus up`."""

    platform_namespace: str = "nexus-system"
    images: Images = field(default_factory=Images)
    engines: frozenset[str] = frozenset({"llamacpp"})
    """Runtimes that models may use here."""
    profiles: Mapping[str, ResourceProfile] = field(default_factory=lambda: _DEFAULT_PROFILES)
    model_cache: ModelCache = field(default_factory=ModelCache)
    model_credentials: str = ""
    """Optional Secret of the ServingModel's namespace that goes into the environment of what
    fetches weights (HF_TOKEN, NEXUS_S3_*); empty for none."""
    model_file_roots: tuple[str, ...] | None = None
    """Directories of runtimes' pods that `file://` models may name; the chart says none.  Left out
    it is not told to them: on a laptop their own environment says it."""
    model_packages: tuple[str, ...] | None = None
    """Packages that `pkg://` models may name; left out it is not told, as above."""
    events: Events = field(default_factory=Events)
    workflow_template_kind: Literal["WorkflowTemplate", "ClusterWorkflowTemplate"] = (
        "WorkflowTemplate"
    )
    watch_namespaces: tuple[str, ...] = ()
    """Namespaces whose resources are looked after; empty for all."""
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets, in the namespace of each pod, by which images are pulled."""
    scrape: Scrape | None = None
    """None where nobody reads the metrics of runtimes."""
    owner: Owner | None = None
    """None where nothing is uninstalled: on a laptop, and in development."""
    on_kubernetes: bool = False
    """Whether there is a real Kubernetes, which holds budgets, autoscalers and network policies."""
