"""What an engine has to tell so that units can be started by it and asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nexus_api.release import ReleasableUnit


@dataclass(frozen=True)
class Served:
    """A unit, and the folder of this machine that has its adapter, "" for unit.adapter_uri."""

    unit: ReleasableUnit
    adapter: str = ""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a runtime is started.

    Attributes:
        name: that no other runtime has.
        port: of loopback, where it is asked.
        inner_port: another one, for what stands behind that.
        cache: the model cache.
        folder: that goes with the runtime.
        threads: that compute, where there is no GPU.
        gpus: that share the weights.
    """

    name: str
    port: int
    inner_port: int
    cache: Path
    folder: Path
    threads: int
    gpus: int = 0


@dataclass(frozen=True, kw_only=True)
class Program:
    """A process to start.

    Attributes:
        command: program and arguments.
        environment: all of it.
        children: whether it starts processes, which must not outlive it.
    """

    command: list[str]
    environment: Mapping[str, str]
    children: bool = False


@dataclass(frozen=True)
class Launch:
    """What to start.

    Attributes:
        programs: in this order; the runtime lives as long as all of them.
        models: the names by which the units are asked for there.
    """

    programs: tuple[Program, ...]
    models: tuple[str, ...]


class Engine(Protocol):
    """An engine that offers OpenAI's routes and /health, and counts tokens by /tokenize or not."""

    together: bool
    """Whether one process serves units that differ by their adapters alone."""

    def launch(self, units: Sequence[Served], place: Place) -> Launch:
        """Say how units are started: one, or more where they can be `together`.

        Raises:
            EngineNotOffered: it is not installed here.
            StepError: it could not serve the weights or an adapter; says why.
            nexus_models.errors.ModelError: weights or adapter cannot be had.
        """

    def request(self, unit: ReleasableUnit) -> dict[str, Any]:
        """Return what goes into every request beside OpenAI's own fields."""

    def tokenize(self, text: str) -> dict[str, Any] | None:
        """Return what /tokenize takes for a text without special tokens, beside the model.

        None where the engine counts nothing.
        """

    def refused(self, code: int, said: str) -> bool:
        """Say whether an end with this exit code will come again; `said` is the log's end."""

    def too_long(self, answer: str) -> bool:
        """Say whether the answer with status 4xx means that the prompt does not fit."""

    def words(self, log: str) -> str:
        """Return what a person needs of a log to see why the engine ended, in one line."""
