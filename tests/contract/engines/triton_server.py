"""The real tritonserver as a process, with the repository that a Triton pod has.

Its vLLM backend, which needs a GPU, is stood in for by `triton_model.py` in the place that
Triton finds that backend in; the repository of `assistant` is the very one that operator and
init container write.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from engine_models import CONTEXT, RANK, adapter
from engine_servers import BASE, Server
from gateway_scripted import model_manifest
from ports import free_ports

from nexus_api.meta import Manifest
from nexus_api.release import ADAPTER_WEIGHTS
from nexus_api.servingmodel import ServingModel
from nexus_models.files import sha256_of
from nexus_operator.build import triton as triton_build
from nexus_operator.build.fetch import folder as weights_folder
from nexus_operator.settings import ModelCache, ResourceProfile, Settings
from nexus_pipelines.cli import run as step

HERE = Path(__file__).parent
ADAPTERS = [{"name": name, "uri": f"hf://acme/{name}"} for name in ("pirate", "parrot")]


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
        f"--model-repository={repository(folder)}",
        f"--backend-directory={_backends(folder / 'backends', venv)}", "--allow-gpu-metrics=false",
        *_told()[2:],  # all but where the repository is
    ]  # fmt: skip
    for kind, port in {"http": http, "grpc": grpc, "metrics": metrics}.items():
        command += [f"--{kind}-address=127.0.0.1", f"--{kind}-port={port}"]
    return Server(
        "triton", f"grpc://127.0.0.1:{grpc}", f"http://127.0.0.1:{http}/v2/health/ready", command,
        folder / "triton.log",
        {
            "LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs"),
            "PATH": f"{venv / 'bin'}:{os.environ['PATH']}", "JOURNAL": str(journal),
        },
        working=working, probe=_container()["startupProbe"]["exec"]["command"],
    )  # fmt: skip


TEMPLATE = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]"
PLAIN = """
backend: "python"
max_batch_size: 0
model_transaction_policy { decoupled: true }
input [
  { name: "text_input" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "sampling_parameters" data_type: TYPE_STRING dims: [ 1 ] optional: true }
]
output [ { name: "text_output" data_type: TYPE_STRING dims: [ -1 ] } ]
"""


def repository(folder: Path) -> Path:
    """Write the model repository.

    `assistant` is ours, with adapters; `plain` gives no counts of tokens; `chatml` and
    `templated` repeat their prompts.
    """
    target = folder / "repository"
    _ours(folder, target)
    common = {"context": str(CONTEXT)}
    _write(target, "plain", common)
    _write(target, "chatml", {**common, "answer": "echo"})
    _write(target, "templated", {**common, "answer": "echo", "chat_template": TEMPLATE})
    return target


def _resource() -> ServingModel:
    runtime = {"engine": "triton", "contextTokens": CONTEXT, "slots": 4, "maxLoraRank": RANK}
    told = {"uri": BASE, "adapters": ADAPTERS}
    manifest = model_manifest("assistant", "", model=told, runtime=runtime)
    return ServingModel.model_validate(manifest)


def _container() -> Manifest:
    """Return the pod's container."""
    return triton_build.runtime(_resource(), Settings(), ResourceProfile()).container


def _told() -> list[str]:
    """Return the arguments of the pod's container."""
    arguments: list[str] = _container()["args"]
    assert arguments[:2] == ["--model-repository", triton_build.REPOSITORY]
    return arguments


def adapter_folder(folder: Path, name: str) -> Path:
    """Return where an adapter lies that was fetched into the cache of this server's `folder`."""
    return Path(weights_folder(_settings(folder), f"hf://acme/{name}"))


def mark(adapter: Path) -> str:
    """Return what words of the stand-in begin with by the adapter of a folder."""
    return f"{sha256_of(adapter / ADAPTER_WEIGHTS)[:8]}:"


def program(folder: Path, venv: Path) -> Path:
    """Write a program that is tritonserver with the stand-in, as on the PATH of an image."""
    packages = next(venv.glob("lib/python3*/site-packages"))
    backends = _backends(folder / "backends", venv)
    made = folder / "tritonserver"
    libraries = packages / "nvidia_pytriton.libs"
    made.write_text(
        "#!/bin/sh\n"
        f'export PATH="{venv / "bin"}:$PATH" LD_LIBRARY_PATH="{libraries}"\n'
        f"exec {packages / 'pytriton/tritonserver/bin/tritonserver'} "
        f'--backend-directory={backends} --allow-gpu-metrics=false "$@"\n'
    )
    made.chmod(0o755)
    return made


def _settings(folder: Path) -> Settings:
    return Settings(model_cache=ModelCache(path=str(folder / "cache")))


def _ours(folder: Path, target: Path) -> None:
    """Do what a pod does before its server starts, less the download."""
    settings = _settings(folder)
    weights = Path(weights_folder(settings, BASE))
    weights.mkdir(parents=True, exist_ok=True)
    for seed, one in enumerate(ADAPTERS):
        if not adapter_folder(folder, one["name"]).exists():
            adapter(adapter_folder(folder, one["name"]), seed)
    stated = folder / "stated"
    files = triton_build.repository_files(_resource(), settings, ResourceProfile())
    for path, text in files.items():
        (stated / path).parent.mkdir(parents=True, exist_ok=True)
        (stated / path).write_text(text)
    arguments = ["--weights", str(weights), "--config", str(stated)]
    assert step(["triton-repository", *arguments, "--to", str(target / "assistant")]) == 0


def _backends(folder: Path, venv: Path) -> Path:
    """Put the stand-in beside Triton's own Python backend, by the name of the real one."""
    (folder / "vllm").mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "triton_model.py", folder / "vllm" / "model.py")
    (folder / "python").unlink(missing_ok=True)
    (folder / "python").symlink_to(venv / "backends" / "python")
    return folder


def _write(folder: Path, name: str, parameters: dict[str, str]) -> None:
    version = folder / name / "1"
    version.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "triton_model.py", version / "model.py")
    lines = [
        f'parameters {{ key: "{key}" value {{ string_value: {json.dumps(value)} }} }}\n'
        for key, value in parameters.items()
    ]
    (folder / name / "config.pbtxt").write_text(PLAIN + "".join(lines))
