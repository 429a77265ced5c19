"""Files of units whose engine reads safetensors: their base, their adapters, the ranks of these."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nexus_api.release import ADAPTER_CONFIG, ReleasableUnit
from nexus_models import ModelFiles, ModelFormat, Progress, fetch, fetch_adapter
from nexus_pipelines.finetune.evaluate.engine import Served
from nexus_pipelines.finetune.evaluate.errors import AdapterUnreadable, EngineNotOffered


def base(unit: ReleasableUnit, cache: Path, progress: Progress | None = None) -> Path:
    """Fetch the base model of a unit; gives its folder.  Raises EngineNotOffered, ModelError."""
    return base_files(unit, cache, progress).dir


def base_files(unit: ReleasableUnit, cache: Path, progress: Progress | None = None) -> ModelFiles:
    """Fetch the base model of a unit.  Raises EngineNotOffered, ModelError."""
    found = fetch(unit.base, cache=cache, revision=unit.base_revision, progress=progress)
    if found.format is not ModelFormat.SAFETENSORS:
        raise EngineNotOffered(
            f"{unit.base} is no folder of safetensors, which {unit.engine} serves"
        )
    return found


def adapter_folder(served: Served, cache: Path) -> Path:
    """Return where a unit's adapter lies, held against its digest.  Raises ModelError."""
    if served.adapter:
        return Path(served.adapter)
    unit = served.unit
    uri, digest = unit.adapter_uri or "", unit.adapter_digest or ""
    return fetch_adapter(uri, ModelFormat.SAFETENSORS, cache=cache, digest=digest).dir


def largest_rank(adapters: Iterable[Path]) -> int:
    """Return the largest rank of adapters, 1 for none.  Raises AdapterUnreadable."""
    return max((rank_of(folder) for folder in adapters), default=1)


def rank_of(folder: Path) -> int:
    """Return the largest rank of an adapter.  Raises AdapterUnreadable."""
    path = folder / ADAPTER_CONFIG
    try:
        told = json.loads(path.read_text("utf-8"))
        ranks: Iterable[Any] = [told["r"], *(told.get("rank_pattern") or {}).values()]
        return max(int(rank) for rank in ranks)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise AdapterUnreadable(f"{path.name} of the adapter tells no rank: {error}") from None
