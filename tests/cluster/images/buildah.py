"""buildah, with its images in a store of our own that can be thrown away as a whole."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from testcluster.cache import cache_folder

from images.errors import BuildFailed, ToolMissing

LAST_WORDS = 25
_SECONDS = 1500.0


def available() -> None:
    """Raise ToolMissing with what to install when images cannot be made here."""
    missing = [tool for tool in ("buildah", "debootstrap") if shutil.which(tool) is None]
    if missing:
        raise ToolMissing(
            f"{' and '.join(missing)} not installed, which images are made with: "
            f"run `apt-get install {' '.join(missing)}`"
        )
    if os.geteuid() != 0:
        raise ToolMissing("images are made in a chroot, which only root may enter: run as root")


def store() -> Path:
    """Return the folder of buildah's store; removing it costs the next build its layers only."""
    return cache_folder() / "images" / "store"


def buildah(*arguments: str, seconds: float = _SECONDS) -> str:
    """Run buildah and return what it printed.  Raises BuildFailed with its last words."""
    scratch = store() / "tmp"  # what builds keep between them lies there too: pip's downloads
    scratch.mkdir(parents=True, exist_ok=True)
    command = ["buildah", f"--root={store()}", f"--runroot={store() / 'run'}", *arguments]
    environment = os.environ | {"TMPDIR": str(scratch)}
    what = f"buildah {arguments[0]}"
    return checked(command, what=what, seconds=seconds, environment=environment)


def in_store(image: str) -> bool:
    """Return whether the store has an image of that name; waits while others write to the store."""
    return bool(buildah("images", "--quiet", "--filter", f"reference={image}").strip())


def sweep(kept: int) -> None:
    """Remove the stages of old builds that no image rests on, all but the newest."""
    stages = json.loads(buildah("images", "--filter", "dangling=true", "--json") or "[]") or []
    stages.sort(key=lambda stage: stage["created"], reverse=True)
    for stage in stages[kept:]:
        remove(stage["id"])


def tags(name: str) -> list[str]:
    """Return every name with its tag that an image of this name has in the store."""
    listed = json.loads(buildah("images", "--filter", f"reference={name}", "--json") or "[]") or []
    return [tag for found in listed for tag in found["names"] if tag.startswith(f"{name}:")]


def remove(image: str) -> None:
    """Remove an image from the store, unless a build or a test at work rests on it just now."""
    with suppress(BuildFailed):
        buildah("rmi", image)


def checked(
    command: list[str],
    *,
    what: str,
    seconds: float,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a command to its end and return its output.  Raises BuildFailed with its last words."""
    try:
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=seconds, env=environment
        )
    except subprocess.CalledProcessError as error:
        said = f"{error.stdout}\n{error.stderr}".strip().splitlines()
        last = "\n  ".join(said[-LAST_WORDS:])
        raise BuildFailed(f"{what} failed with status {error.returncode}:\n  {last}") from error
    except subprocess.TimeoutExpired as error:
        raise BuildFailed(f"{what} did not end within {seconds:.0f} s: try again") from error
    return done.stdout


@contextmanager
def mounted(image: str) -> Iterator[Path]:
    """Mount the file system of an image of the store; changes to it are lost."""
    container = buildah("from", "--pull-never", image).strip()
    try:
        yield Path(buildah("mount", container).strip())
    finally:
        buildah("rm", container)
