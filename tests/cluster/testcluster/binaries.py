"""The binaries of the test cluster, built once for each version of their sources.

They lie in the user's cache under the hash of what they are built from.  A cold build of all takes
half an hour on two cores, a warm one is a look into the cache.
"""

import dataclasses
import hashlib
import json
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

from testcluster.cache import cache_folder, cached
from testcluster.programs import PROGRAMS, CopiedModule, Name, Program

__all__ = ["BUILD_COMMAND", "BinaryMissing", "Name", "binary", "cache_folder", "module_folder"]

BUILD_COMMAND = "python tests/cluster/cluster.py build"

_BUILD_SECONDS = 1800
_ATTEMPTS = 3  # a module proxy that stumbles is asked again; what was fetched stays fetched


class BinaryMissing(RuntimeError):
    """A binary is not built and cannot be; the message has the command that mends it."""


def binary(name: Name) -> Path:
    """Return the path of a binary, built now when it is not there.  Raises BinaryMissing."""
    program = PROGRAMS[name]
    return cached(content_hash(program), name, lambda fresh: _build(name, program, fresh))


def content_hash(program: Program) -> str:
    """Return the hash of everything that a program is built from."""
    digest = hashlib.sha256(f"{program.package} {program.link} {program.static}".encode())
    for path in program.sources():
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def module_folder(program: Program, module: str) -> Path:
    """Return where Go keeps the sources of a dependency, fetched when needed.

    Raises BinaryMissing when Go is not installed or the module cannot be fetched.
    """
    said = _go(program.module, ["mod", "download", "-json", module], program.folder)
    return Path(json.loads(said)["Dir"])


def _build(name: Name, program: Program, fresh: Path) -> None:
    command = ["build", "-buildvcs=false", "-p", "2", "-ldflags", program.link]
    if program.copied is None:
        _go(name, [*command, "-o", str(fresh), program.package], program.folder, program.static)
        return
    # Kept, and in one place, so that what Go compiled of it is found again.
    key = content_hash(dataclasses.replace(program, package=program.module))
    copied = program.copied
    folder = cached(key, "module", lambda fresh: _copy_module(program, copied, fresh))
    _go(name, [*command, "-o", str(fresh), program.package], folder, program.static)


def _copy_module(program: Program, copied: CopiedModule, folder: Path) -> None:
    """Lay out a module whose dependency is replaced by a copy with the missing files in it."""
    # Contents alone, since the files of the module cache are read-only.
    source = folder / "source"
    shutil.copytree(module_folder(program, copied.path), source, copy_function=shutil.copyfile)
    for path in [source, *(path for path in source.rglob("*") if path.is_dir())]:
        path.chmod(0o755)
    for missing, twin in copied.restored.items():
        shutil.copyfile(source / twin, source / missing)
    for path in program.sources():
        shutil.copyfile(path, folder / path.name)
    _go(program.module, ["mod", "edit", f"-replace={copied.path}=./source"], folder)


def _go(name: str, arguments: list[str], folder: Path, static: bool = False) -> str:
    """Run Go in a folder and return what it printed.  Raises BinaryMissing."""
    go = shutil.which("go")
    if go is None:
        raise BinaryMissing(
            f"{name} is not built and Go is not installed: install Go 1.26 or newer from "
            f"https://go.dev/dl, then run `{BUILD_COMMAND}`"
        )
    environment = {**os.environ, **({"CGO_ENABLED": "0"} if static else {})}
    said = ""
    for _ in range(_ATTEMPTS):
        try:
            return subprocess.run(
                ["nice", go, *arguments],
                cwd=folder,
                env=environment,
                check=True,
                capture_output=True,
                text=True,
                timeout=_BUILD_SECONDS,
            ).stdout
        except subprocess.TimeoutExpired as error:
            raise BinaryMissing(f"{name} was not built in {error.timeout:.0f} s") from error
        except subprocess.CalledProcessError as error:
            said = (error.stderr or error.stdout or "no output").strip()
            time.sleep(random.uniform(0.5, 1.5))
    raise BinaryMissing(
        f"{name} could not be built ({said.splitlines()[-1]}): run `{BUILD_COMMAND}` to see why"
    )
