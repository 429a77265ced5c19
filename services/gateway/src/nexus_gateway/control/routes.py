"""Models and indexes by tenant and name, as the resources declare them.  No I/O."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from nexus_api.meta import Manifest
from nexus_api.ragindex import RagIndex
from nexus_api.servingmodel import Engine, ServingModel
from nexus_gateway.upstream.pool import Target

LATE_SECONDS = 150.0
"""How long after a switch a pod may not have heard of it: a kubelet's minute and a half, and a
margin."""

Key: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class ModelRoute:
    """One ServingModel as a place to send requests to; `target` is None while it cannot serve.

    `adapter` is the LoRA adapter that was asked for, "" for the model itself.  `before` has, by
    adapter, the name that the runtime had for the version before the one that counts now, and until
    when it may be asked for by it, as of `time.monotonic`.
    """

    tenant: str
    name: str
    resource: ServingModel
    target: Target | None
    why_not: str = ""
    created: int = 0
    engine: Engine = "llamacpp"
    adapter: str = ""
    before: Mapping[str, tuple[str, float]] = field(default_factory=dict)

    @property
    def asked_as(self) -> str:
        """The name that requests use: MODEL, or MODEL:ADAPTER."""
        return f"{self.name}:{self.adapter}" if self.adapter else self.name

    @property
    def served_as(self) -> str:
        """The name that the runtime knows: of an adapter, that of the version that counts now."""
        return self.versions.get(self.adapter) or self.adapter or self.name

    @property
    def served_before(self) -> str:
        """The name of the version before that one, "" when none was seen or it is long ago."""
        name, until = self.before.get(self.adapter, ("", 0.0))
        return name if time.monotonic() < until else ""

    @property
    def versions(self) -> Mapping[str, str]:
        """By adapter the name of the version that counts, where it has one of its own."""
        served = self.resource.status.adapters
        return {one.name: one.served_as for one in served if one.served_as}

    @property
    def revision(self) -> str:
        """The revision that answers, "" while none does."""
        return self.resource.status.live_revision or ""

    def adapter_version(self, answered_as: str) -> str:
        """Tell which version of the adapter answered, "" for the model itself.

        It is the number in the registry, else the digest; of the version before that one, which a
        runtime may still have answered by, the name there, which is `answered_as`.
        """
        if answered_as and answered_as == self.before.get(self.adapter, ("", 0.0))[0]:
            return answered_as
        for one in self.resource.status.adapters:
            if one.name == self.adapter:
                return one.version or one.digest
        return ""

    def after(self, earlier: ModelRoute | None) -> ModelRoute:
        """Return this route with what is to be remembered of the one that it replaces."""
        if earlier is None:
            return self
        then, now = earlier.versions, self.versions
        until = time.monotonic() + LATE_SECONDS
        replaced = {name: (one, until) for name, one in then.items() if now.get(name, one) != one}
        return replace(self, before={**earlier.before, **replaced})

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
        """Whether it answers now."""
        loaded = not self.adapter or self.adapter in self.served_adapters
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


def index_route(manifest: Manifest, _earlier: IndexRoute | None = None) -> IndexRoute:
    """Return the route of one RagIndex."""
    tenant, name = key_of(manifest)
    return IndexRoute(tenant, name, RagIndex.model_validate(manifest))


def model_route(manifest: Manifest, earlier: ModelRoute | None = None) -> ModelRoute:
    """Return the route of one ServingModel: where it serves, or why it does not.

    `earlier` is the route that it replaces.
    """
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
    return ModelRoute(tenant, name, resource, target, why, created, engine).after(earlier)
