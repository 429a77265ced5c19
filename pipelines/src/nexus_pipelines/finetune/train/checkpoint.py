"""Where training stands, as one object: safetensors, with the numbers as JSON in its header.

The losses stand beside the vectors: a header holds 100 MB, which some million of them exceed.

One object is there whole or not at all, so a kill at any moment leaves the older checkpoint or
the newer one.  Nothing random is kept: order and dropout follow from seed and step.
"""

import json
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nexus_pipelines.finetune.store import FineTuneStore, RunObjectMissing

_NAME = "train/checkpoints/state.safetensors"
_FIELD = "nexus"
_LOSSES = "losses"


@dataclass(slots=True)
class Standing:
    """How far a run is: steps complete, what they cost and gave."""

    steps: int = 0
    seconds: float = 0.0  # over all attempts, held-out losses and checkpoints among them
    busy: float = 0.0  # of these, in steps
    tokens: int = 0
    losses: list[float] = field(default_factory=list)  # one a step
    heldout: list[tuple[int, float]] = field(default_factory=list)  # steps complete, loss

    @property
    def best(self) -> tuple[int, float] | None:
        """The lowest held-out loss after any training, and after how many steps; first wins."""
        trained = [found for found in self.heldout if found[0] > 0]
        return min(trained, key=lambda found: found[1]) if trained else None


class Checkpoints:
    """The checkpoint of one run; of other inputs than these it is not taken."""

    def __init__(self, store: FineTuneStore, inputs: str) -> None:
        self._store = store
        self._inputs = inputs

    def save(self, standing: Standing, vectors: dict[str, Any]) -> None:
        """Put the newest checkpoint in the place of the one before.

        Args:
            standing: how far the run is.
            vectors: flat float32 vectors by name.
        """
        import torch
        from safetensors.torch import save_file

        told = asdict(replace(standing, losses=[]))
        header = json.dumps({"inputs": self._inputs, "standing": told})
        losses = torch.tensor(standing.losses, dtype=torch.float64)
        vectors = {**vectors, _LOSSES: losses}
        with tempfile.TemporaryDirectory(prefix="nexus-checkpoint-") as scratch:
            file = Path(scratch, "state.safetensors")
            save_file({name: one.cpu() for name, one in vectors.items()}, file, {_FIELD: header})
            self._store.put_file(_NAME, file)

    def load(self) -> tuple[Standing, dict[str, Any]] | None:
        """Read the checkpoint; None when there is none that belongs to these inputs."""
        from safetensors import SafetensorError, safe_open

        with tempfile.TemporaryDirectory(prefix="nexus-checkpoint-") as scratch:
            file = Path(scratch, "state.safetensors")
            try:
                self._store.fetch_file(_NAME, file)
                with safe_open(file, framework="pt") as stored:
                    found = json.loads(stored.metadata()[_FIELD])
                    if found["inputs"] != self._inputs:
                        return None
                    vectors = {name: stored.get_tensor(name).clone() for name in stored.keys()}  # noqa: SIM118  no mapping
                standing = Standing(**found["standing"])
                losses = vectors.pop(_LOSSES, None)
                if losses is not None:  # else an older release has left them in the header
                    standing.losses = losses.tolist()
            except (RunObjectMissing, SafetensorError, ValueError, KeyError, TypeError):
                return None
        standing.heldout = [(step, loss) for step, loss in standing.heldout]
        return standing, vectors

    def remove(self) -> None:
        """Delete it; the run is done."""
        self._store.delete(_NAME)
