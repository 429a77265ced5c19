"""Errors as the API server reports them: v1 Status objects with a reason and an HTTP code."""

from nexus_api.meta import Manifest
from nexus_operator.cluster.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    Gone,
    Invalid,
    NotFound,
    Unavailable,
)

_KNOWN: tuple[tuple[type[ClusterError], int, str], ...] = (
    (NotFound, 404, "NotFound"),
    (AlreadyExists, 409, "AlreadyExists"),
    (Conflict, 409, "Conflict"),
    (Invalid, 422, "Invalid"),
    (Gone, 410, "Expired"),
    (Unavailable, 503, "ServiceUnavailable"),
)


class RequestError(Exception):
    """A request that cannot be understood or is not allowed. code: of HTTP; reason: of Status."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        """Say what is wrong with the request, and what would be right."""
        super().__init__(message)
        self.code = code
        self.reason = reason


def bad_request(message: str) -> RequestError:
    """Return the error for a request that makes no sense."""
    return RequestError(400, "BadRequest", message)


def failure(error: ClusterError | RequestError, details: Manifest | None = None) -> Manifest:
    """Return the Status for an error; details: name, group and kind of what was asked for."""
    if isinstance(error, RequestError):
        code, reason = error.code, error.reason
    else:
        code, reason = next(
            ((code, reason) for kind, code, reason in _KNOWN if isinstance(error, kind)),
            (500, "InternalError"),
        )
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": str(error),
        "reason": reason,
        **({"details": details} if details else {}),
        "code": code,
    }


def success(details: Manifest) -> Manifest:
    """Return the Status for a deletion that is done."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }
