"""How the gateway speaks to each engine: OpenAI's HTTP routes, or Triton's gRPC."""

from nexus_gateway.engines.base import Json, Reply, Upstream
from nexus_gateway.engines.registry import Engines

__all__ = ["Engines", "Json", "Reply", "Upstream"]
