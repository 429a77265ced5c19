"""The candidate's adapter: brought here, converted for the runtime, named by its digest."""

import hashlib
from pathlib import Path

from nexus_api.release import (
    ADAPTER_CONFIG,
    ADAPTER_FILES,
    ADAPTER_GGUF,
    ADAPTER_WEIGHTS,
    ReleasableUnit,
    adapter_digest,
)
from nexus_models import ModelFormat, fetch
from nexus_pipelines.finetune.convert.gguf_adapter import convert
from nexus_pipelines.finetune.evaluate.errors import EngineNotOffered
from nexus_pipelines.finetune.store import FineTuneStore

FOLDER = "train/adapter"


def prepare(store: FineTuneStore, unit: ReleasableUnit, folder: Path, cache: Path) -> str:
    """Bring the adapter to `folder`, make its GGUF, and store that beside it.

    Args:
        store: of the run.
        unit: whose base the adapter will be served with.
        folder: an empty folder of this machine.
        cache: the model cache.

    Returns:
        The digest of the adapter's files.

    Raises:
        EngineNotOffered: the base is no GGUF file, which llama.cpp reads.
        AdapterUnusable: it cannot be served so; says why.
    """
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        store.fetch_file(f"{FOLDER}/{name}", folder / name)
    base = fetch(unit.base, cache=cache, revision=unit.base_revision)
    if base.format is not ModelFormat.GGUF or len(base.weights) != 1:
        raise EngineNotOffered(
            f"{unit.base} is no single GGUF file, which llama.cpp serves: name the model that "
            "serves by spec.promotion.servingModelRef, or take a GGUF model as spec.baseModel"
        )
    convert(folder, base.weights[0], folder / ADAPTER_GGUF)
    store.put_file(f"{FOLDER}/{ADAPTER_GGUF}", folder / ADAPTER_GGUF)
    return adapter_digest({name: _sha256(folder / name) for name in ADAPTER_FILES})


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
