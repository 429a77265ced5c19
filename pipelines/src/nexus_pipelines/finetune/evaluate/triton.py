"""Triton as the runtime of an evaluation: its server, and beside it what asks as the gateway asks.

The server reads a model repository that is made as a pod's is made.  `nexus-gateway-triton` renders
chat templates, speaks gRPC and reads answers by the gateway's own code, so that a golden question
goes the way that a user's question goes.  It comes with the gateway's distribution; both lie in the
administrator's image (docs/how-to/serve-on-gpus.md).  Candidate and production are adapters of one
server; one request at a time, and no prefix cache: a copy of production answers alike.
"""

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nexus_api import triton_repository
from nexus_api.release import ReleasableUnit
from nexus_api.vllm_command import OFFLINE
from nexus_pipelines.finetune.evaluate.engine import Launch, Place, Program, Served
from nexus_pipelines.finetune.evaluate.errors import EngineNotOffered
from nexus_pipelines.finetune.evaluate.foreign import (
    beside,
    environment,
    program,
    without_credentials,
)
from nexus_pipelines.finetune.evaluate.unit_files import adapter_folder, base, largest_rank
from nexus_pipelines.finetune.evaluate.words import COMPLAINT, last_words
from nexus_pipelines.triton_repository.writing import write_model

NAMED = "NEXUS_TRITONSERVER"
"""Names Triton's program, where it is not on the PATH."""

ASKING = "nexus-gateway-triton"
_LOST = 75  # exit code of that program for what may get better
_TOO_LONG = "context_length_exceeded"
_PORT_TAKEN = "already in use"
_END_SECONDS = 5
_SERVERS_OWN = re.compile(r"E\d{4} [\d:.]+ \d+ \S+\] (.*)")
_ASKINGS_OWN = re.compile(rf"({ASKING}: .*)")


class Triton:
    """Starts `tritonserver` with a repository of one model, and what asks it."""

    together = True

    def launch(self, units: Sequence[Served], place: Place) -> Launch:
        """Say how units on one base are started; fetches weights and adapters.

        Raises:
            EngineNotOffered: Triton is not installed here, or does not read such weights.
            AdapterUnreadable: an adapter does not say what rank it has.
            AdapterNotServed, TemplateUnusable: as `write_model` says.
            nexus_models.errors.ModelError: weights or adapter cannot be had.
        """
        server, asking = program("tritonserver", NAMED, "triton"), _asking()
        repository = place.folder / "repository"
        adapters = _write(units, place, repository)
        flags = {
            "model-repository": repository,
            "allow-http": "false",
            "allow-metrics": "false",
            "grpc-address": "127.0.0.1",
            "grpc-port": place.inner_port,
            "exit-timeout-secs": _END_SECONDS,
        }
        told = {"url": f"grpc://127.0.0.1:{place.inner_port}", "model": place.name}
        named = [f"--adapter={name}" for name in adapters if name]
        serves = Program(
            command=[str(server), *_flags(flags)],
            environment=_environment(server),
            children=True,
        )
        asks = Program(
            command=[str(asking), *_flags({**told, "port": place.port}), *named],
            environment=without_credentials(),
        )
        models = [f"{place.name}:{name}" if name else place.name for name in adapters]
        return Launch((serves, asks), models=tuple(models))

    def request(self, unit: ReleasableUnit) -> dict[str, Any]:  # noqa: ARG002 - of the protocol
        """Return nothing: which adapter counts is said by the model's name."""
        return {}

    def tokenize(self, text: str) -> None:  # noqa: ARG002 - of the protocol
        """Return None: Triton has no route that counts tokens."""
        return

    def refused(self, code: int, said: str) -> bool:
        """Say whether an end will come again; one by a signal may not."""
        return code > 0 and code != _LOST and _PORT_TAKEN not in said

    def too_long(self, answer: str) -> bool:
        """Say whether a prompt did not fit."""
        return _TOO_LONG in answer

    def words(self, log: str) -> str:
        """Return the complaints of the logs, since the server tells much of itself, and the end."""
        lines = log.splitlines()
        kinds = (_SERVERS_OWN, _ASKINGS_OWN, COMPLAINT)
        found = [one[1] for line in lines if (one := _first(kinds, line))]
        return last_words(dict.fromkeys([*found, *lines[-3:]]))


def _first(kinds: Sequence[re.Pattern[str]], line: str) -> re.Match[str] | None:
    return next((found for kind in kinds if (found := kind.search(line))), None)


def _write(units: Sequence[Served], place: Place, repository: Path) -> list[str]:
    """Write the repository; gives the name of each unit's adapter, "" for the base alone."""
    unit = units[0].unit
    weights = base(unit, place.cache)
    names = [f"side-{number}" if one.unit.adapted else "" for number, one in enumerate(units)]
    folders = {
        name: adapter_folder(one, place.cache)
        for name, one in zip(names, units, strict=True)
        if name
    }
    files = triton_repository.repository_files(
        name=place.name,
        weights=str(weights),
        context_tokens=unit.context_tokens,
        slots=1,
        gpus=place.gpus,
        adapters={name: str(folder) for name, folder in folders.items()},
        max_rank=largest_rank(folders.values()),
        prefix_cache=False,
    )
    write_model(files, weights, repository / place.name)
    return names


def _flags(flags: dict[str, Any]) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items()]


def _asking() -> Path:
    """Return the program that asks: the one beside this Python, else on the PATH."""
    where = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which(ASKING, path=where)
    if found is None:
        raise EngineNotOffered(
            f"there is no {ASKING}: the model is served by triton, so the image that evaluates "
            "(images.evaluator of the chart) needs the gateway's distribution beside this step's"
        )
    return Path(found)


def _environment(server: Path) -> dict[str, str]:
    """Return the server's environment.

    Its backend looks for the `python3` of the PATH to find its libraries: not for ours.
    """
    kept = environment()
    ours = {str(Path(sys.executable).parent), str(Path(sys.prefix, "bin"))}
    parts = [part for part in kept.get("PATH", "").split(os.pathsep) if part not in ours]
    kept = {key: value for key, value in kept.items() if key != "VIRTUAL_ENV"}
    return beside(server.parent, {**kept, **OFFLINE, "PATH": os.pathsep.join(parts)})
