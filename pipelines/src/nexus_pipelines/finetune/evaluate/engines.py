"""The engines that an evaluation can start, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from nexus_api.release import ReleasableUnit
from nexus_pipelines.finetune.evaluate.engine import Engine
from nexus_pipelines.finetune.evaluate.errors import EngineNotOffered
from nexus_pipelines.finetune.evaluate.llamacpp import LlamaCpp
from nexus_pipelines.finetune.evaluate.triton import Triton
from nexus_pipelines.finetune.evaluate.vllm import Vllm

ENGINES: Mapping[str, Engine] = MappingProxyType(
    {"llamacpp": LlamaCpp(), "vllm": Vllm(), "triton": Triton()}
)


def engine_of(unit: ReleasableUnit) -> Engine:
    """Return the engine that serves a unit.  Raises EngineNotOffered."""
    found = ENGINES.get(unit.engine)
    if found is None:
        raise EngineNotOffered(
            f"the model is served by {unit.engine}; an evaluation answers through "
            f"{' and '.join(ENGINES)} only, so serve it by one of these (spec.runtime.engine)"
        )
    return found
