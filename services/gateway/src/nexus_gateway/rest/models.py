"""`GET /v1/models`: the models and embedding models that a tenant may use."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from nexus_gateway.control.routes import ModelRoute
from nexus_gateway.errors import NotFound
from nexus_gateway.rest.context import Reader, Shared

router = APIRouter(tags=["models"])
Json = dict[str, Any]


@router.get("/v1/models")
async def list_models(services: Shared, who: Reader) -> Json:
    """List what `model` may name in requests."""
    return {"object": "list", "data": await _models(services, who)}


@router.get("/v1/models/{name:path}")
async def retrieve_model(name: str, services: Shared, who: Reader) -> Json:
    """Return one model."""
    for model in await _models(services, who):
        if model["id"] == name:
            return model
    raise NotFound(f"there is no model {name!r}", param="model", code="model_not_found")


@router.get("/v1/indexes")
async def list_indexes(services: Shared, who: Reader) -> Json:
    """List the indexes that may be searched and filled."""
    indexes = services.routes.indexes_of(who.tenant)
    return {"indexes": [{"index": index.name} for index in indexes]}


async def _models(services: Shared, who: Reader) -> list[Json]:
    routes = services.routes.models_of(who.tenant)
    chat = [_model(one) for route in routes for one in route.with_adapters()]
    return chat + [_embedding(model) for model in await services.embedders.models()]


def _embedding(model: Json) -> Json:
    return {
        "id": model["id"],
        "object": "model",
        "created": model.get("created") or 0,
        "owned_by": "llmops-nexus",
        "kind": "embedding",
        "ready": True,
    }


def _model(route: ModelRoute) -> Json:
    return {
        "id": route.asked_as,
        "object": "model",
        "created": route.created,
        "owned_by": route.tenant,
        "kind": "chat",
        "ready": route.ready,
        "index": route.index or None,
        "parent": route.name if route.adapter else None,
    }
