"""The runtime that serves a unit, as child processes on loopback."""

import secrets
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from nexus_pipelines.finetune.evaluate.children import Child, started
from nexus_pipelines.finetune.evaluate.engine import Engine, Place, Served
from nexus_pipelines.finetune.evaluate.engines import engine_of
from nexus_pipelines.finetune.evaluate.errors import RuntimeDied, RuntimeRefused

LOAD_SECONDS = 1800.0
_POLL = 0.05  # seconds


@dataclass(frozen=True)
class Runtime:
    """A runtime that answers.

    Attributes:
        model: what requests have to name; no other runtime has it.
        engine: that speaks there.
        children: its processes, all of which it needs.
    """

    url: str
    model: str
    engine: Engine
    children: tuple[Child, ...]

    def check(self, *, answered: bool = True) -> None:
        """Look whether all its processes are there; `answered` once it has answered.

        Raises:
            RuntimeRefused: one ended before that, and would end so again.
            RuntimeDied: one has ended.
        """
        for child in self.children:
            if (code := child.ended) is not None:
                said = self.engine.words(child.text())
                if not answered and self.engine.refused(code, said):
                    raise RuntimeRefused(f"the runtime does not serve the model: {said}")
                raise RuntimeDied(f"the runtime ended (exit {code}): {said}")

    def said(self) -> str:
        """Return what its logs say of its end, in one line."""
        return self.engine.words("\n".join(child.text() for child in self.children))


@contextmanager
def serving(
    units: Sequence[Served], *, cache: Path, threads: int, gpus: int = 0
) -> Iterator[tuple[Runtime, ...]]:
    """Start the runtime of units, wait until it answers, and end it; gives one for each unit.

    It computes one request at a time, so that the same question gets the same answer.

    Args:
        units: of one engine, and more than one only where that serves them together; adapters
            are held against their digests.
        cache: the model cache.
        threads: that compute, where there is no GPU.
        gpus: that share the weights.

    Raises:
        EngineNotOffered: they run by an engine that is not to be had here.
        RuntimeRefused: the runtime does not take the model or an adapter; says why.
        RuntimeDied: it ended for another reason, or did not answer in time.
        StepError: weights or an adapter are such that it could not serve them.
        nexus_models.errors.ModelError: weights or an adapter cannot be had.
    """
    engine = engine_of(units[0].unit)
    port, inner = _free_ports()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nexus-runtime-")))
        place = Place(
            name=f"unit-{secrets.token_hex(8)}",
            port=port,
            inner_port=inner,
            cache=cache,
            folder=folder,
            threads=threads,
            gpus=gpus,
        )
        launch = engine.launch(units, place)
        children = stack.enter_context(started(launch.programs, folder))
        url = f"http://127.0.0.1:{port}"
        runtimes = tuple(Runtime(url, model, engine, children) for model in launch.models)
        _wait_ready(runtimes[0])
        yield runtimes


def _wait_ready(runtime: Runtime) -> None:
    deadline = time.monotonic() + LOAD_SECONDS
    with httpx.Client(base_url=runtime.url, timeout=5.0) as client:
        while time.monotonic() < deadline:
            runtime.check(answered=False)
            if _answers(client, runtime.model):
                return
            time.sleep(_POLL)
    raise RuntimeDied(f"the runtime did not answer within {LOAD_SECONDS:.0f} s: {runtime.said()}")


def _answers(client: httpx.Client, name: str) -> bool:
    """Say whether this very runtime answers: the port may have gone to another meanwhile."""
    try:
        told = [client.get(path) for path in ("/health", "/v1/models")]
    except httpx.HTTPError:
        return False  # it does not listen yet
    return all(one.status_code == httpx.codes.OK for one in told) and name in told[-1].text


def _free_ports() -> tuple[int, int]:
    """Return two ports of loopback that are not taken."""
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1]), int(other.getsockname()[1])
