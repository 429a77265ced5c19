"""The candidate's adapter: brought here, in its engine's form, named by its digest."""

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
from nexus_pipelines.finetune.convert.gguf_adapter import convert
from nexus_pipelines.finetune.evaluate.bases import servable_base
from nexus_pipelines.finetune.store import FineTuneStore

FOLDER = "train/adapter"


def prepare(store: FineTuneStore, unit: ReleasableUnit, folder: Path, cache: Path) -> str:
    """Bring the adapter to `folder`; for llama.cpp make its GGUF, and store that beside it.

    Args:
        store: of the run.
        unit: whose base and engine the adapter will be served with.
        folder: an empty folder of this machine.
        cache: the model cache.

    Returns:
        The digest of the adapter's files.

    Raises:
        EngineNotOffered: the engine is not offered, or does not read such a base.
        AdapterUnusable: it cannot be served so; says why.
    """
    base = servable_base(unit, cache)  # refused before anything is asked
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        store.fetch_file(f"{FOLDER}/{name}", folder / name)
    if unit.engine == "llamacpp":
        convert(folder, base, folder / ADAPTER_GGUF)
        store.put_file(f"{FOLDER}/{ADAPTER_GGUF}", folder / ADAPTER_GGUF)
    present = [name for name in ADAPTER_FILES if (folder / name).exists()]
    return adapter_digest({name: _sha256(folder / name) for name in present})


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
