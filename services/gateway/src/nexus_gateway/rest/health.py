"""Liveness, readiness and metrics."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from nexus_gateway.rest.context import Shared

router = APIRouter(tags=["operation"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(services: Shared) -> JSONResponse:
    """Say whether requests should be sent here: routes known, stores open, no end in sight.

    A control API that is away does not make a gateway unready which has its routes.
    """
    if services.draining:
        return JSONResponse({"status": "draining"}, 503)
    waiting = []
    if not services.mirror.synced:
        waiting.append("the models and indexes are not known yet")
    if not services.knowledge.ready:
        waiting.append(services.knowledge.waiting_for)
    if waiting:
        return JSONResponse({"status": "starting", "waiting_for": waiting}, 503)
    return JSONResponse({"status": "ready", "control_connected": services.mirror.connected})


@router.get("/metrics")
async def metrics(request: Request, services: Shared) -> Response:
    """Return metrics in Prometheus' text format."""
    if services.keys.configured:
        request.scope["nexus.principal"].require("metrics")
    for model in services.routes.models.values():
        for route in model.with_adapters():
            services.metrics.expect_ratings(route.tenant, route.asked_as)
    services.metrics.control_connected.set(services.mirror.connected)
    return Response(services.metrics.render(), media_type="text/plain; version=0.0.4")
