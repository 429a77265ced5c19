"""The base of a unit in the form that its engine serves: asked before a training and after it."""

from dataclasses import asdict
from pathlib import Path

from nexus_api.release import ReleasableUnit
from nexus_models import ModelFiles, ModelFormat, Progress, fetch, named_licence
from nexus_pipelines.finetune.evaluate.engines import engine_of
from nexus_pipelines.finetune.evaluate.errors import EngineNotOffered
from nexus_pipelines.finetune.evaluate.unit_files import base_files


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
    found = _served(unit, cache, progress)
    return found.weights[0] if unit.engine == "llamacpp" else found.dir


def base_licence(unit: ReleasableUnit, cache: Path) -> dict[str, str] | None:
    """Return the licence that a unit's base names, as `Licence` has it; None for none.

    Raises as `servable_base`.
    """
    licence = named_licence(_served(unit, cache))
    return asdict(licence) if licence else None


def base_digest(unit: ReleasableUnit, cache: Path) -> str:
    """Return the digest (SHA-256, hex) over the files of a unit's base, as its engine reads them.

    A number format that `unit.quantization` asks for is made from these files: it is of the unit,
    not of the digest.  Raises as `servable_base`.
    """
    return _served(unit, cache).digest


def _served(unit: ReleasableUnit, cache: Path, progress: Progress | None = None) -> ModelFiles:
    engine_of(unit)
    if unit.engine != "llamacpp":
        return base_files(unit, cache, progress)
    model = fetch(unit.base, cache=cache, revision=unit.base_revision, progress=progress)
    if model.format is not ModelFormat.GGUF or len(model.weights) != 1:
        raise EngineNotOffered(
            f"{unit.base} is no single GGUF file, which llama.cpp serves: name the model that "
            "serves by spec.promotion.servingModelRef, or take a GGUF model as spec.baseModel"
        )
    return model
