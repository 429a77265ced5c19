"""Every way a request can be refused, in the form that OpenAI clients understand."""

from __future__ import annotations

from collections.abc import Mapping


class GatewayError(Exception):
    """A refusal with its HTTP status, an OpenAI error type and a code for programs.

    `param` names the offending field, `headers` go on the response.
    """

    status = 500
    kind = "server_error"
    code = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or type(self).code
        self.headers = dict(headers or {})

    def payload(self) -> dict[str, object]:
        """Return the body of the error response."""
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }


class BadRequest(GatewayError):
    """The request cannot be understood or breaks a rule (400)."""

    status = 400
    kind = "invalid_request_error"
    code = "invalid_request"


class Unauthorized(GatewayError):
    """No key, or one that is not known (401)."""

    status = 401
    kind = "authentication_error"
    code = "invalid_api_key"


class Forbidden(GatewayError):
    """The key lacks the role, or a browser page of another origin asks (403)."""

    status = 403
    kind = "permission_error"
    code = "forbidden"


class NotFound(GatewayError):
    """What the request names is not there for this tenant (404)."""

    status = 404
    kind = "invalid_request_error"
    code = "not_found"


class MethodNotAllowed(GatewayError):
    """The path exists, the method does not (405)."""

    status = 405
    kind = "invalid_request_error"
    code = "method_not_allowed"


class TooLarge(GatewayError):
    """A body or an upload is over its limit (413)."""

    status = 413
    kind = "invalid_request_error"
    code = "too_large"


class TooMany(GatewayError):
    """A rate or a concurrency limit is reached (429, with Retry-After)."""

    status = 429
    kind = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after: int, code: str | None = None) -> None:
        super().__init__(message, code=code, headers={"retry-after": str(max(1, retry_after))})


class UpstreamError(GatewayError):
    """A model or a store answered with what cannot be passed on (502)."""

    status = 502
    kind = "server_error"
    code = "upstream_error"


class NotReady(GatewayError):
    """What is needed exists but cannot serve yet (503, with Retry-After)."""

    status = 503
    kind = "server_error"
    code = "not_ready"

    def __init__(self, message: str, *, retry_after: int = 2, code: str | None = None) -> None:
        super().__init__(message, code=code, headers={"retry-after": str(max(1, retry_after))})


class TimedOut(GatewayError):
    """The model did not answer within the request's time (504)."""

    status = 504
    kind = "server_error"
    code = "timeout"
