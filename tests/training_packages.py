"""Install what training needs, from its lock; on a machine without a GPU the CPU build of torch.

The registry's torch brings some 3 GB of CUDA.  A folder of wheels beside the checkout, or the one
that NEXUS_WHEELS names, may hold the CPU build; then the CUDA packages are left out.

    python tests/training_packages.py UV REQUIREMENTS
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_CUDA = re.compile(r"^(nvidia-|cuda-|triton==)")
_TORCH = re.compile(r"^torch==\S+")


def pinned(lock: str) -> list[str]:
    """Return the requirements of a lock file, each with its hashes on one line."""
    return [line for line in lock.replace("\\\n", " ").splitlines() if line and line[0] != "#"]


def split(lock: str) -> tuple[str, list[str]]:
    """Return torch's own requirement, and all others that a CPU has a use for."""
    lines = pinned(lock)
    torch = next(found.group() for line in lines if (found := _TORCH.match(line)))
    return torch, [line for line in lines if not _CUDA.match(line) and not _TORCH.match(line)]


def main(uv: str, requirements: Path) -> None:
    """Install; a second time does nothing."""
    wheels = Path(os.environ.get("NEXUS_WHEELS") or _ROOT.parent / "shared" / "wheels")
    install = [uv, "pip", "install", "-q", "--python", sys.executable]
    torch, others = split(requirements.read_text(encoding="utf-8"))
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    cpu = next(wheels.glob(f"torch-{torch.partition('==')[2]}+cpu-{tag}-*.whl"), None)
    if cpu is None:
        subprocess.run([*install, "--require-hashes", "-r", str(requirements)], check=True)
        return
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as rest:
        rest.write("\n".join(others))
        rest.flush()
        subprocess.run([*install, "--no-deps", "--require-hashes", "-r", rest.name], check=True)
    subprocess.run([*install, "--no-deps", str(cpu)], check=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
