"""The FastAPI application: routers, errors in OpenAI's form, the OpenAPI document."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from nexus_gateway.errors import BadRequest, GatewayError, MethodNotAllowed, NotFound, TooLarge
from nexus_gateway.page.route import router as page
from nexus_gateway.rest import alerts, documents, feedback, health, models, notices, reports, search
from nexus_gateway.rest.openapi import add_hot_path
from nexus_gateway.services import Services


def build_app(services: Services) -> FastAPI:
    """Return the application over the gateway's services."""
    app = FastAPI(
        title="LLMOps Nexus gateway",
        version="0.1.0",
        description="OpenAI-compatible answers with citations, and the documents behind them.",
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services
    for part in (models, search, documents, feedback, reports, alerts, notices, health):
        app.include_router(part.router)
    app.include_router(page)
    app.add_exception_handler(GatewayError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        return add_hot_path(generated())

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents this way to extend it
    return app


def respond(error: GatewayError) -> JSONResponse:
    """Return the response of a refusal."""
    return JSONResponse(error.payload(), error.status, error.headers)


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    return respond(error if isinstance(error, GatewayError) else GatewayError(str(error)))


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    first: dict[str, Any] = problems[0] if problems else {"loc": (), "msg": str(error)}
    where = [str(part) for part in first["loc"] if part not in {"body", "query", "path"}]
    if first.get("type") == "json_invalid":
        return respond(BadRequest("the body is not valid JSON", code="invalid_json"))
    param = ".".join(where) or None
    return respond(BadRequest(f"{param or 'the body'}: {first['msg']}", param=param))


async def _http(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    path = request.url.path
    if status == 404:  # noqa: PLR2004 - HTTP Not Found
        if path.startswith(("/v1/responses", "/v1/vector_stores", "/v1/answers")):
            return respond(NotFound(f"{path} is not offered", code="not_offered"))
        return respond(NotFound(f"there is nothing at {path}", code="unknown_route"))
    if status == 405:  # noqa: PLR2004 - HTTP Method Not Allowed
        allow = getattr(error, "headers", None) or {}
        message = f"{request.method} is not offered at {path}"
        return respond(MethodNotAllowed(message, headers=dict(allow)))
    if status == TooLarge.status:
        return respond(TooLarge(str(getattr(error, "detail", error))))
    refusal = GatewayError(str(getattr(error, "detail", error)))
    return JSONResponse(refusal.payload(), status)
