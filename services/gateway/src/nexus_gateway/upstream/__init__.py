"""A small HTTP/1.1 client for the hot path: pooled connections, streaming, back-pressure."""

from nexus_gateway.upstream.connection import Response, UpstreamBroken
from nexus_gateway.upstream.pool import Pool, UpstreamUnreachable

__all__ = ["Pool", "Response", "UpstreamBroken", "UpstreamUnreachable"]
