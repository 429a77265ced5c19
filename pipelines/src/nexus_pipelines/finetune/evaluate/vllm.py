"""vLLM as the runtime of an evaluation: its own program beside ours, told what a pod is told.

It lies in an environment of its own, since it pins its torch and takes gigabytes: an image of the
administrator's has both (docs/how-to/serve-on-gpus.md).  Candidate and production are adapters of
one server, so that the same compiled kernels compute both; one request at a time, and no prefix
cache: a copy of production answers alike.
"""

from collections.abc import Sequence
from typing import Any

from nexus_api import vllm_command
from nexus_api.release import ReleasableUnit
from nexus_api.vllm_command import OFFLINE, PROGRAM
from nexus_pipelines.finetune.evaluate.engine import Launch, Place, Program, Served
from nexus_pipelines.finetune.evaluate.foreign import beside, environment, program
from nexus_pipelines.finetune.evaluate.unit_files import adapter_folder, base, largest_rank
from nexus_pipelines.finetune.evaluate.words import COMPLAINT, last_words

NAMED = "NEXUS_VLLM"
"""Names vLLM's program, where it is not on the PATH."""

_ALONE = ["--no-enable-prefix-caching"]
_TOO_LONG = "context length"
_PORT_TAKEN = "address already in use"  # the system's words, which asyncio writes in lower case


class Vllm:
    """Starts `vllm serve` on fetched weights."""

    together = True

    def launch(self, units: Sequence[Served], place: Place) -> Launch:
        """Say how units on one base are started; fetches weights and adapters.

        Raises:
            EngineNotOffered: vLLM is not installed here, or does not read such weights.
            AdapterUnreadable: the adapter does not say what rank it has.
            nexus_models.errors.ModelError: weights or adapter cannot be had.
        """
        server, unit = program(PROGRAM[0], NAMED, "vllm"), units[0].unit
        weights = base(unit, place.cache)
        served = vllm_command.served(
            name=place.name,
            host="127.0.0.1",
            port=place.port,
            context_tokens=unit.context_tokens,
            slots=1,
            gpus=place.gpus,
        )
        names = [
            f"{place.name}-{number}" if one.unit.adapted else place.name
            for number, one in enumerate(units)
        ]
        folders = {
            name: adapter_folder(one, place.cache)
            for name, one in zip(names, units, strict=True)
            if one.unit.adapted
        }
        lora = vllm_command.adapted(
            {name: str(folder) for name, folder in folders.items()}, largest_rank(folders.values())
        )
        flags = [part for flag in served.items() for part in flag]
        started = Program(
            command=[str(server), *PROGRAM[1:], str(weights), *flags, *_ALONE, *lora],
            # Its compilers lie beside it.
            environment=beside(server.parent, {**environment(), **OFFLINE}),
            children=True,
        )
        return Launch((started,), models=tuple(names))

    def request(self, unit: ReleasableUnit) -> dict[str, Any]:  # noqa: ARG002 - of the protocol
        """Return nothing: which adapter counts is said by the model's name."""
        return {}

    def tokenize(self, text: str) -> dict[str, Any]:
        """Return what /tokenize takes."""
        return {"prompt": text, "add_special_tokens": False}

    def refused(self, code: int, said: str) -> bool:
        """Say whether an end will come again; one by a signal may not."""
        return code > 0 and _PORT_TAKEN not in said.lower()

    def too_long(self, answer: str) -> bool:
        """Say whether a prompt did not fit."""
        return _TOO_LONG in answer

    def words(self, log: str) -> str:
        """Return the complaints of the log, since what follows them is a page of frames."""
        lines = log.splitlines()
        bad = [line for line in lines if " WARNING " not in line]
        found = [one[1] for line in bad if (one := COMPLAINT.search(line))]
        return last_words(dict.fromkeys(found)) if found else last_words(lines[-20:])
