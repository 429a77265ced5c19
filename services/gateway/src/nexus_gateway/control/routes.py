"""Models and indexes by tenant and name, as the resources declare them.  No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from nexus_api.meta import Manifest
from nexus_api.ragindex import RagIndex
from nexus_api.servingmodel import Engine, ServingModel
from nexus_gateway.upstream.pool import Target

Key: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class ModelRoute:
    """One ServingModel as a place to send requests to; `target` is None while it cannot serve.

    `adapter` is the LoRA adapter that was asked for, "" for the model itself.
    """

    tenant: str
    name: str
    resource: ServingModel
    target: Target | None
    why_not: str = ""
    created: int = 0
    engine: Engine = "llamacpp"
    adapter: str = ""

    @property
    def asked_as(self) -> str:
        """The name that requests use: MODEL, or MODEL:ADAPTER."""
        return f"{self.name}:{self.adapter}" if self.adapter else self.name

    @property
    def served_as(self) -> str:
        """The name that the runtime knows."""
        return self.adapter or self.name

    @property
    def adapters(self) -> list[str]:
        """Names of the adapters that are served beside the model."""
        return [adapter.name for adapter in self.resource.spec.model.adapters]

    @property
    def served_adapters(self) -> list[str]:
        """Names of the adapters that the live revision has loaded, in their order."""
        return [adapter.name for adapter in self.resource.status.adapters]

    def with_adapters(self) -> list[ModelRoute]:
        """Return the model itself and each of its adapters, as routes of their own."""
        return [replace(self, adapter=adapter) for adapter in ("", *self.adapters)]

    @property
    def ready(self) -> bool:
        """Whether it answers now; vLLM knows its adapters itself."""
        loaded = not self.adapter or self.engine == "vllm" or self.adapter in self.served_adapters
        return self.target is not None and loaded

    @property
    def index(self) -> str:
        """Name of the RagIndex that grounds its answers, "" for none."""
        knowledge = self.resource.spec.knowledge
        return knowledge.rag_index_ref.name if knowledge else ""


@dataclass(frozen=True)
class IndexRoute:
    """One RagIndex."""

    tenant: str
    name: str
    resource: RagIndex


@dataclass
class Routes:
    """What can be asked for now.  Replaced entry by entry; readers take what they find."""

    models: dict[Key, ModelRoute] = field(default_factory=dict)
    indexes: dict[Key, IndexRoute] = field(default_factory=dict)

    def model(self, tenant: str, name: str) -> ModelRoute | None:
        """Return a tenant's model, or one of its adapters: MODEL:ADAPTER."""
        base, colon, adapter = name.partition(":")
        route = self.models.get((tenant, base))
        if route is None or not colon:
            return route
        return replace(route, adapter=adapter) if adapter in route.adapters else None

    def index(self, tenant: str, name: str) -> IndexRoute | None:
        """Return a tenant's index."""
        return self.indexes.get((tenant, name))

    def models_of(self, tenant: str) -> list[ModelRoute]:
        """Return a tenant's models by name."""
        return sorted(
            (route for (owner, _), route in self.models.items() if owner == tenant),
            key=lambda route: route.name,
        )

    def indexes_of(self, tenant: str) -> list[IndexRoute]:
        """Return a tenant's indexes by name."""
        return sorted(
            (route for (owner, _), route in self.indexes.items() if owner == tenant),
            key=lambda route: route.name,
        )


def key_of(manifest: Manifest) -> Key:
    """Return namespace and name of an object."""
    metadata = manifest["metadata"]
    return metadata.get("namespace", "default"), metadata["name"]


def index_route(manifest: Manifest) -> IndexRoute:
    """Return the route of one RagIndex."""
    tenant, name = key_of(manifest)
    return IndexRoute(tenant, name, RagIndex.model_validate(manifest))


def model_route(manifest: Manifest) -> ModelRoute:
    """Return the route of one ServingModel: where it serves, or why it does not."""
    tenant, name = key_of(manifest)
    resource = ServingModel.model_validate(manifest)
    status: dict[str, Any] = manifest.get("status") or {}
    conditions: list[dict[str, Any]] = status.get("conditions") or []
    ready = next((c for c in conditions if c.get("type") == "Ready"), {})
    serving = ready.get("status") == "True" or (status.get("readyReplicas") or 0) > 0
    target = Target.of(status["url"]) if serving and status.get("url") else None
    why = "" if target else (ready.get("message") or ready.get("reason") or "it is being started")
    stamp = resource.metadata.creation_timestamp
    created = int(stamp.timestamp()) if stamp else 0
    engine = resource.status.engine or resource.spec.engine()
    return ModelRoute(tenant, name, resource, target, why, created, engine)
