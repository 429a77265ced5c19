"""The base of a unit in the form that its engine serves: asked before a training and after it."""

from pathlib import Path

from nexus_api.release import ReleasableUnit
from nexus_models import ModelFormat, Progress, fetch
from nexus_pipelines.finetune.evaluate.engines import engine_of
from nexus_pipelines.finetune.evaluate.errors import EngineNotOffered
from nexus_pipelines.finetune.evaluate.unit_files import base


def servable_base(unit: ReleasableUnit, cache: Path, progress: Progress | None = None) -> Path:
    """Fetch a unit's base; return its GGUF file for llama.cpp, else its folder of safetensors.

    Args:
        unit: whose base and engine are looked at.
        cache: the model cache.
        progress: told when a download begins.

    Raises:
        EngineNotOffered: the engine is not offered, or does not read such a base.
        ModelError: it cannot be fetched, or its bytes changed.
    """
    engine_of(unit)
    if unit.engine != "llamacpp":
        return base(unit, cache, progress)
    model = fetch(unit.base, cache=cache, revision=unit.base_revision, progress=progress)
    if model.format is not ModelFormat.GGUF or len(model.weights) != 1:
        raise EngineNotOffered(
            f"{unit.base} is no single GGUF file, which llama.cpp serves: name the model that "
            "serves by spec.promotion.servingModelRef, or take a GGUF model as spec.baseModel"
        )
    return model.weights[0]
