"""ServingModel: a language model that answers, with or without the knowledge of a RagIndex."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from nexus_api.decimal_text import Temperature
from nexus_api.meta import Conditions, LocalName, LocalRef, Model, Resource, Rule, checked
from nexus_api.names import NAME_RULES
from nexus_api.uri import ModelUri

Engine = Literal["llamacpp", "vllm", "triton"]
Quantization = Literal["asIs", "F16", "Q8_0", "Q4_0"]


_LLAMACPP = (
    "self.runtime.engine == 'llamacpp'"
    " || (self.runtime.engine == 'auto' && (self.model.uri.startsWith('pkg://')"
    " || self.model.uri.endsWith('.gguf')))"
)
"""CEL on a spec: the engine is llamacpp."""


class Adapter(Model):
    """A LoRA adapter that is served beside the model, under a name of its own."""

    model_config = ConfigDict(
        json_schema_extra=dict(
            checked(
                Rule(
                    "self.digest == '' || !self.uri.startsWith('models:/')",
                    "a version of the registry has a digest of its own: leave digest out",
                    field=".digest",
                )
            )
        )
    )

    name: LocalName
    """Name by which requests ask for the adapter."""
    uri: ModelUri
    """Address of its folder, in PEFT's form; for llamacpp with adapter.gguf in it. \
models:/NAMESPACE.JOB@champion follows what a FineTuneJob of this namespace releases."""
    digest: Annotated[str, Field(max_length=64, pattern=r"^([0-9a-f]{64})?$")] = ""
    """Digest of the adapter's files as the registry tells it; another adapter is refused."""


class ModelSource(Model):
    """The weights."""

    uri: ModelUri
    """Address of the model."""
    revision: Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9._/-]*$")] = ""
    """Commit, tag or version; empty for the one that the address names."""
    quantization: Quantization = "asIs"
    """Number format of the weights; all but asIs convert a GGUF model once, at its first start."""
    adapters: Annotated[
        list[Adapter],
        Field(
            max_length=16,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        ),
    ] = Field(default_factory=list)
    """LoRA adapters that are served beside the model; llamacpp takes one."""


class Runtime(Model):
    """The server that runs the model."""

    engine: Literal["auto", "llamacpp", "vllm", "triton"] = "auto"
    """auto takes llamacpp for GGUF files and packages, else vllm."""
    profile: Annotated[
        str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    ] = "default"
    """Name of a resource profile that the administrator offers: accelerator, memory, nodes."""
    context_tokens: Annotated[int, Field(ge=256, le=1048576)] = 4096
    """Longest prompt and answer together, for each slot."""
    slots: Annotated[int, Field(ge=1, le=1024)] = 1
    """Requests that one replica answers at the same time: a few on a CPU, hundreds on a GPU."""
    max_lora_rank: Annotated[int, Field(ge=1, le=256)] = 16
    """Largest rank of an adapter; room for it, up to the next power of two, is set aside."""


class Autoscaling(Model):
    """Bounds and target of an autoscaler."""

    model_config = ConfigDict(
        json_schema_extra=dict(
            checked(
                Rule(
                    "self.maxReplicas >= self.minReplicas",
                    "must not be smaller than minReplicas",
                    expression="'must not be smaller than minReplicas (%d)'"
                    ".format([self.minReplicas])",
                    field=".maxReplicas",
                )
            )
        )
    )

    min_replicas: Annotated[int, Field(ge=1, le=64)] = 1
    """Fewest replicas."""
    max_replicas: Annotated[int, Field(ge=1, le=64)]
    """Most replicas."""
    target_concurrency: Annotated[int, Field(ge=1, le=1024)] = 4
    """Requests in flight for each replica that the autoscaler aims at."""


class Prompt(Model):
    """What the model is told beside question and passages."""

    system: Annotated[str, Field(max_length=8192)] | None = None
    """System message; the platform's own when left out."""


class Knowledge(Model):
    """The index whose passages the model answers from."""

    rag_index_ref: LocalRef
    """RagIndex of the same namespace."""
    prompt: Prompt = Field(default_factory=Prompt)
    """What the model is told."""
    top_k: Annotated[int, Field(ge=1, le=100)] | None = None
    """Passages for a question; the index's own number when left out."""
    prompt_tokens: Annotated[int, Field(ge=64, le=1048576)] = 900
    """Most prompt tokens, passages included."""


class Generation(Model):
    """Defaults for requests that do not say."""

    max_tokens: Annotated[int, Field(ge=1, le=131072)] = 160
    """Longest answer."""
    temperature: Temperature = "0"
    """Sampling temperature, from 0 to 2."""


class Release(Model):
    """How a new revision replaces the live one."""

    strategy: Literal["Surge", "Recreate"] = "Surge"
    """Surge starts the new beside the old; Recreate stops the old first, where only one fits."""


class Monitoring(Model):
    """What is recorded for quality."""

    sample_percent: Annotated[int, Field(ge=0, le=100)] = 100
    """Share of answers that are logged, in percent."""


class ServingModelSpec(Model):
    """What should be served."""

    model_config = ConfigDict(
        json_schema_extra=dict(
            checked(
                Rule(
                    "!has(self.autoscaling) || self.replicas == 1",
                    "replicas and autoscaling exclude each other: leave replicas out",
                    field=".replicas",
                ),
                Rule(
                    "self.model.quantization == 'asIs' || self.runtime.engine == 'llamacpp'"
                    " || (self.runtime.engine == 'auto' && (self.model.uri.startsWith('pkg://')"
                    " || self.model.uri.endsWith('.gguf')))",
                    "only llamacpp converts weights: leave quantization out, or serve a GGUF model",
                    field=".model.quantization",
                ),
                Rule(
                    f"size(self.model.adapters) <= 1 || !({_LLAMACPP})",
                    "llamacpp loads one adapter: leave one, or set runtime.engine to vllm",
                    field=".model.adapters",
                ),
                Rule(
                    "!has(self.knowledge) || self.knowledge.promptTokens"
                    " + self.generation.maxTokens <= self.runtime.contextTokens",
                    "must fit runtime.contextTokens together with generation.maxTokens",
                    expression="'promptTokens and generation.maxTokens (%d) together exceed"
                    " runtime.contextTokens (%d)'"
                    ".format([self.generation.maxTokens, self.runtime.contextTokens])",
                    field=".knowledge.promptTokens",
                ),
                Rule(
                    "self.generation.maxTokens < self.runtime.contextTokens",
                    "must be smaller than runtime.contextTokens",
                    field=".generation.maxTokens",
                ),
            )
        )
    )

    model: ModelSource
    """The weights."""
    runtime: Runtime = Field(default_factory=Runtime)
    """The server that runs them."""
    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of servers, when there is no autoscaling."""
    autoscaling: Autoscaling | None = None
    """Lets load decide the number of servers; excludes replicas."""
    knowledge: Knowledge | None = None
    """The index to answer from; without it the model answers by itself."""
    generation: Generation = Field(default_factory=Generation)
    """Defaults for requests."""
    release: Release = Field(default_factory=Release)
    """How a new revision goes live."""
    monitoring: Monitoring = Field(default_factory=Monitoring)
    """What is recorded for quality."""

    def engine(self) -> Engine:
        """Return the engine that serves the model; auto follows from the form of the address."""
        if self.runtime.engine != "auto":
            return self.runtime.engine
        uri = self.model.uri
        return "llamacpp" if uri.startswith("pkg://") or uri.endswith(".gguf") else "vllm"


class ServedAdapter(Model):
    """An adapter of the revision that answers."""

    name: LocalName
    """Name by which requests ask for it."""
    uri: Annotated[str, Field(max_length=1024)]
    """Address that the spec names."""
    source: Annotated[str, Field(max_length=1024)]
    """Folder that it was fetched from."""
    digest: Annotated[str, Field(max_length=64)] = ""
    """Digest of its files; empty where nobody named one."""
    version: Annotated[str, Field(max_length=16)] = ""
    """Number of its version in the registry."""
    served_as: Annotated[str, Field(max_length=128)] | None = None
    """Name by which the runtime knows this version of it, where that is another."""


class ServingModelStatus(Model):
    """What was last observed of the model."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The metadata.generation that this was observed at."""
    conditions: Conditions = Field(default_factory=list)
    """Ready, Progressing, Degraded, InsufficientCapacity, UpdateAvailable, Autoscaling, \
AdapterNotReleased."""
    replicas: Annotated[int, Field(ge=0)] | None = None
    """Servers that exist."""
    ready_replicas: Annotated[int, Field(ge=0)] | None = None
    """Servers that answer."""
    selector: Annotated[str, Field(max_length=1024)] | None = None
    """Label selector of the servers, for autoscalers."""
    live_revision: Annotated[str, Field(max_length=63)] | None = None
    """Revision that answers."""
    candidate_revision: Annotated[str, Field(max_length=63)] | None = None
    """Revision that is being started."""
    engine: Engine | None = None
    """Engine of the revision that answers: how to speak to it."""
    adapters: Annotated[
        list[ServedAdapter],
        Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = Field(default_factory=list)
    """Adapters of the revision that answers."""
    url: Annotated[str, Field(max_length=2048)] | None = None
    """Address of the runtime inside the cluster; grpc:// for triton, else http://."""


class ServingModel(Resource):
    """A language model behind an OpenAI-compatible API, with knowledge attached or without."""

    model_config = ConfigDict(json_schema_extra=dict(checked(*NAME_RULES)))

    kind: Literal["ServingModel"] = "ServingModel"
    spec: ServingModelSpec
    """What should be served."""
    status: ServingModelStatus = Field(default_factory=ServingModelStatus)
    """What was last observed; written by the controller."""
