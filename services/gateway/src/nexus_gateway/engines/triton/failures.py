"""What Triton and gRPC say when they fail, as what the hot path knows."""

from __future__ import annotations

import re

import grpc
from tritonclient.utils import InferenceServerException

from nexus_gateway.errors import BadRequest, GatewayError, NotReady, TooMany, UpstreamError
from nexus_gateway.upstream import UpstreamBroken, UpstreamUnreachable

Failure = (grpc.RpcError, InferenceServerException)
MAX_MESSAGE = 2000
_TOO_LONG = re.compile(
    r"(maximum|max)[ _](context|model|sequence|input)[ _]len|context (length|window|size)|"
    r"(prompt|input).{0,40}too long",
    re.IGNORECASE,
)
_ABSENT = re.compile(
    r"unknown model|has no available versions|LoRA .* is not supported|LoRA feature is not enabled|"
    r"Stub process .* is not healthy"  # until the container is restarted
)


def before_answer(model: str, error: Exception) -> Exception:
    """Return the error for a failure before anything of an answer came."""
    status, message = _read(error)
    if status == "DEADLINE_EXCEEDED":
        return TimeoutError(message)
    if _ABSENT.search(message):
        return NotReady(f"model {model!r} is not loaded: {message}", code="model_not_ready")
    if status == "UNAVAILABLE":
        return UpstreamUnreachable(message)
    if status == "RESOURCE_EXHAUSTED":
        return TooMany(f"model {model!r} is full: {message}", retry_after=2)
    if status in {"CANCELLED", "UNKNOWN", "INTERNAL"}:
        return UpstreamBroken(message, started=False)
    return _refusal(model, status, message)


def amid_answer(error: Exception) -> UpstreamBroken:
    """Return the error for a failure once the answer had begun."""
    return UpstreamBroken(_read(error)[1], started=True)


def _refusal(model: str, status: str, message: str) -> GatewayError:
    if _TOO_LONG.search(message):
        return BadRequest(message, code="context_length_exceeded", param="messages")
    if status == "INVALID_ARGUMENT":
        return BadRequest(message)
    return UpstreamError(f"model {model!r} failed: {message}")


def _read(error: Exception) -> tuple[str, str]:
    """Return the gRPC status name ("" for a model's own error in the stream) and the message."""
    if isinstance(error, InferenceServerException):
        status = str(error.status() or "").removeprefix("StatusCode.")
        return status, str(error.message() or "Triton gave no reason")[:MAX_MESSAGE]
    if isinstance(error, grpc.aio.AioRpcError):
        return error.code().name, str(error.details() or error.code().name)[:MAX_MESSAGE]
    return "UNKNOWN", str(error)[:MAX_MESSAGE]
