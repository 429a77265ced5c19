"""What a runtime says when it refuses, as one of our errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from nexus_gateway.errors import (
    BadRequest,
    GatewayError,
    NotReady,
    TimedOut,
    TooMany,
    UpstreamError,
)
from nexus_gateway.upstream import UpstreamBroken, UpstreamUnreachable

MAX_MESSAGE = 2000


def of_response(
    name: str, status: int, data: bytes, headers: Mapping[bytes, bytes]
) -> GatewayError:
    """Return the error that a runtime's refusal stands for; `name` is the model's."""
    detail = _detail(data)
    message = str(detail.get("message") or f"HTTP {status}")[:MAX_MESSAGE]
    code = detail.get("code") if isinstance(detail.get("code"), str) else None
    param = detail.get("param") if isinstance(detail.get("param"), str) else None
    retry = headers.get(b"retry-after", b"")
    after = int(retry) if retry.isdigit() else 2
    if status == 503:  # noqa: PLR2004 - HTTP Service Unavailable
        return NotReady(f"model {name!r} is not ready: {message}", retry_after=after)
    if detail.get("type") == "NotFoundError":  # vLLM: an adapter that is not loaded, say
        return NotReady(f"model {name!r} is not loaded: {message}", code="model_not_ready")
    if status == 429:  # noqa: PLR2004 - HTTP Too Many Requests
        return TooMany(f"model {name!r} is full: {message}", retry_after=after)
    if 400 <= status < 500 and status not in {401, 403, 404, 405}:  # noqa: PLR2004 - the client's
        too_long = detail.get("type") == "exceed_context_size_error" or "context length" in message
        return BadRequest(
            message, param=param, code="context_length_exceeded" if too_long else code
        )
    return UpstreamError(f"model {name!r} failed with HTTP {status}: {message}")


def of_exception(name: str, error: Exception) -> GatewayError:
    """Return the error that a failed call of a runtime stands for."""
    if isinstance(error, UpstreamUnreachable):
        return NotReady(
            f"model {name!r} does not accept connections; it may be starting", retry_after=2
        )
    if isinstance(error, TimeoutError):
        return TimedOut(f"model {name!r} did not answer in time")
    if isinstance(error, UpstreamBroken) and not error.started:
        return NotReady(
            f"model {name!r} closed the connection without an answer; it may be restarting",
            retry_after=2,
        )
    return UpstreamError(f"model {name!r} broke off: {error}", code="stream_interrupted")


def _detail(data: bytes) -> dict[str, Any]:
    """Return the `error` object of an answer, or what can be read instead."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {"message": data[:200].decode(errors="replace").strip()}
    if isinstance(value, dict):
        error = value.get("error", value)
        if isinstance(error, dict):
            return error
        return {"message": str(error)}
    return {}
