"""The engines by name: how each is built, and how it is spoken to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nexus_api.meta import Manifest
from nexus_api.servingmodel import Engine as EngineName
from nexus_api.servingmodel import ServingModel
from nexus_operator.build import llamacpp, triton, vllm
from nexus_operator.build.container import Runtime
from nexus_operator.settings import ResourceProfile, Settings


@dataclass(frozen=True, kw_only=True)
class Engine:
    """One engine: its builder, and the port of its Service, named for the port of the pods."""

    build: Callable[[ServingModel, Settings, ResourceProfile], Runtime]
    port_name: str
    port: int


ENGINES: Mapping[EngineName, Engine] = MappingProxyType(
    {
        "llamacpp": Engine(build=llamacpp.runtime, port_name="http", port=80),
        "vllm": Engine(build=vllm.runtime, port_name="http", port=80),
        "triton": Engine(build=triton.runtime, port_name="grpc", port=triton.GRPC_PORT),
    }
)


def engine_of(template: Manifest) -> EngineName | None:
    """Return the engine that a pod template runs, told by the name of its container."""
    containers = (template.get("spec") or {}).get("containers") or [{}]
    return next((name for name in ENGINES if name == containers[0].get("name")), None)
