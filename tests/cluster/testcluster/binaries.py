"""The binaries of the test cluster, built once for each version of their sources.

They lie in the user's cache under the hash of what they are built from.  A cold build takes minutes
(about eight on two cores), a warm one is a look into the cache.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

Name = Literal["kube", "etcd"]

SOURCES = Path(__file__).parents[1]
KUBERNETES = "1.34.4"
BUILD_COMMAND = "python tests/cluster/build.py"

_VERSION = "k8s.io/component-base/version"
_LINK = {
    "kube": (
        f"-s -w -X {_VERSION}.gitVersion=v{KUBERNETES} "
        f"-X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor={KUBERNETES.split('.')[1]}"
    ),
    "etcd": "-s -w",
}
_BUILD_SECONDS = 1800


class BinaryMissing(RuntimeError):
    """A binary is not built and cannot be; the message has the command that mends it."""


def cache_folder() -> Path:
    """Return the folder for everything that the project builds for its tests."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "llmops-nexus"


def binary(name: Name) -> Path:
    """Return the path of a binary, built now when it is not there.  Raises BinaryMissing."""
    target = cache_folder() / _content_hash(name) / name
    if target.exists():
        return target
    go = shutil.which("go")
    if go is None:
        raise BinaryMissing(
            f"{name} is not built and Go is not installed: install Go 1.24 or newer from "
            f"https://go.dev/dl, then run `{BUILD_COMMAND}`"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target.parent / ".lock"):
        if not target.exists():
            _build(go, name, target)
    return target


def _content_hash(name: Name) -> str:
    digest = hashlib.sha256(_LINK[name].encode())
    for file in ("go.mod", "go.sum", "main.go"):
        digest.update((SOURCES / name / file).read_bytes())
    return digest.hexdigest()[:16]


def _build(go: str, name: Name, target: Path) -> None:
    fresh = target.with_suffix(".new")
    command = [go, "build", "-buildvcs=false", "-p", "2", "-ldflags", _LINK[name]]
    try:
        subprocess.run(
            ["nice", *command, "-o", str(fresh), "."],
            cwd=SOURCES / name,
            check=True,
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = str(error.stderr or error).strip().splitlines()
        raise BinaryMissing(
            f"{name} could not be built ({said[-1] if said else 'no output'}): "
            f"run `{BUILD_COMMAND}` to see why"
        ) from error
    fresh.rename(target)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock that other test runs on this machine wait for; it goes with the process."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
