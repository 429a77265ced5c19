"""llama.cpp as the runtime of an evaluation: one slot, nothing kept between questions."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nexus_api.release import ReleasableUnit
from nexus_pipelines.finetune.evaluate.engine import Launch, Place, Program, Served
from nexus_pipelines.finetune.evaluate.errors import EngineNotOffered
from nexus_pipelines.finetune.evaluate.words import last_words

COMMAND = "nexus-runtime-llamacpp"
_REFUSED = frozenset({1, 2})  # exit codes for what will not get better
_PORT_TAKEN = "cannot listen on"  # as it says so; another port next time
_TOO_LONG = "exceed_context_size_error"


class LlamaCpp:
    """Starts the platform's own runtime, which fetches the weights itself."""

    together = False

    def launch(self, units: Sequence[Served], place: Place) -> Launch:
        """Say how the one unit is started.  Raises EngineNotOffered."""
        ((unit, adapter),) = [(one.unit, one.adapter) for one in units]
        flags = {
            "model-uri": unit.base,
            "revision": unit.base_revision,
            "quantization": unit.quantization,
            "context-tokens": unit.context_tokens,
            "slots": 1,
            "host": "127.0.0.1",
            "threads": place.threads,
            "served-name": place.name,
            "port": place.port,
        }
        if unit.adapted:
            found = f"file://{adapter}" if adapter else unit.adapter_uri
            flags |= {"adapter-uri": found, "adapter-digest": unit.adapter_digest or ""}
        program = Program(
            command=[_command(), *(f"--{name}={value}" for name, value in flags.items())],
            environment=_environment(place.cache, adapter),
        )
        return Launch((program,), models=(place.name,))

    def request(self, unit: ReleasableUnit) -> dict[str, Any]:
        """Return what goes into every request: the adapter counts, no prompt is kept."""
        lora = {"lora": [{"id": 0, "scale": 1.0}]} if unit.adapted else {}
        return {"cache_prompt": False, **lora}

    def tokenize(self, text: str) -> dict[str, Any]:
        """Return what /tokenize takes."""
        return {"content": text, "add_special": False}

    def refused(self, code: int, said: str) -> bool:
        """Say whether an end will come again."""
        return code in _REFUSED and _PORT_TAKEN not in said

    def too_long(self, answer: str) -> bool:
        """Say whether a prompt did not fit."""
        return _TOO_LONG in answer

    def words(self, log: str) -> str:
        """Return the end of the log."""
        return last_words(log.splitlines())


def _command() -> str:
    """Return the runtime's command: the one beside this Python, else on the PATH."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which(COMMAND, path=beside)
    if found is None:
        raise EngineNotOffered(f"{COMMAND} is not installed here; the step runs in nexus-trainer")
    return found


def _environment(cache: Path, adapter: str) -> dict[str, str]:
    environment = {**os.environ, "NEXUS_MODEL_CACHE": str(cache)}
    roots = environment.get("NEXUS_MODEL_FILE_ROOTS")
    if roots is not None and adapter:
        environment["NEXUS_MODEL_FILE_ROOTS"] = ":".join(filter(None, [roots, adapter]))
    return environment
