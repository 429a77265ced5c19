"""Built images as archives in the user's cache, each under the hash of what it is made from."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testcluster.cache import cache_folder, cached

from images import base, host
from images.buildah import available, buildah, in_store, mounted, remove, sweep, tags
from images.catalogue import Recipe, recipe
from images.content import content_hash
from images.errors import SourcesChanged
from images.sbom import write_sbom

_SHELF = "images"
_ARCHIVE = "image.tar"
_SBOM = "sbom.cdx.json"
_ATTEMPTS = 3  # somebody may be at work on what is copied
_KEPT = 2  # of each image: the one in use and the one before
_STAGES_KEPT = 12  # what the next builds start from; every layer is looked through at each step
_PUSH_SECONDS = 600.0
_WHEELS = "/wheels"  # where a build sees them


@dataclass(frozen=True)
class Built:
    """An image on the shelf: its name on the cluster, its archive and its bill of materials."""

    reference: str
    archive: Path
    sbom: Path


def image(name: str) -> Path:
    """Return the docker-archive of an image, built now when its sources changed.

    Raises ImageMissing when this machine cannot build it.
    """
    return built(name).archive


def reference(name: str) -> str:
    """Return the name of an image in pods: `local/NAME:HASH`, or `:test` when it is not ours.

    Builds nothing.
    """
    wanted = recipe(name)
    return _reference(wanted, _key(wanted))


def built(name: str) -> Built:
    """Return an image with its bill of materials, built now when its sources changed.

    Raises ImageMissing when this machine cannot build it.
    """
    wanted = recipe(name)
    for _ in range(_ATTEMPTS - 1):
        try:
            return _built(wanted, _key(wanted))
        except SourcesChanged:
            continue
    return _built(wanted, _key(wanted))


def _built(wanted: Recipe, key: str) -> Built:
    folder = f"{_SHELF}/{wanted.name}/{key}"
    archive = cached(folder, _ARCHIVE, lambda fresh: _build(wanted, key, fresh))
    archive.parent.touch()
    return Built(_reference(wanted, key), archive, archive.with_name(_SBOM))


@contextmanager
def opened(name: str) -> Iterator[Path]:
    """Mount the file system of an image; changes to it are lost.  Raises ImageMissing."""
    found = built(name)
    tag = f"docker.io/local/{name}:{found.archive.parent.name}"
    with mounted(tag if in_store(tag) else f"docker-archive:{found.archive}") as root:
        yield root


def _reference(wanted: Recipe, key: str) -> str:
    return f"local/{wanted.name}:{key if wanted.own else 'test'}"


def _key(wanted: Recipe) -> str:
    wheels = host.torch_wheels() if wanted.torch else None
    cpu = [path.name for path in sorted(wheels.glob("torch-*+cpu-*.whl"))] if wheels else []
    return content_hash(wanted.dockerfile, wanted.context, base.key(), *cpu)


def _build(wanted: Recipe, key: str, archive: Path) -> None:
    available()
    tag = f"docker.io/local/{wanted.name}:{key}"
    with tempfile.TemporaryDirectory(prefix="nexus-image-") as folder:
        buildah(
            "build",
            "--layers",
            "--force-rm",
            "--isolation=chroot",
            "--pull-never",
            f"--build-arg=BASE_IMAGE={base.base_image()}",
            *(f"--volume={source}:{path}:ro" for path, source in host.mounts(Path(folder)).items()),
            *_torch(wanted),
            f"--file={wanted.dockerfile}",
            f"--tag={tag}",
            str(wanted.context),
        )
    if _key(wanted) != key:
        raise SourcesChanged(
            f"the sources of {wanted.name} changed while it was built: build again"
        )
    write_sbom(tag, archive.with_name(_SBOM))
    archive.unlink(missing_ok=True)
    destination = f"docker-archive:{archive}:docker.io/{_reference(wanted, key)}"
    buildah("push", tag, destination, seconds=_PUSH_SECONDS)
    _forget(wanted.name, archive.parent)


def _torch(wanted: Recipe) -> list[str]:
    """Return what makes a build take a CPU build of torch, where this machine has one."""
    wheels = host.torch_wheels() if wanted.torch else None
    if wheels is None:
        return []
    return [f"--volume={wheels}:{_WHEELS}:ro", f"--build-arg=TORCH_WHEELS={_WHEELS}"]


def _forget(name: str, current: Path) -> None:
    """Remove all but the newest archives, and of the store what stands for none of those left."""
    others = [folder for folder in current.parent.iterdir() if folder != current]
    others.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in others[_KEPT - 1 :]:
        shutil.rmtree(folder)
    left = {folder.name for folder in current.parent.iterdir()}
    for tag in tags(f"docker.io/local/{name}"):
        if tag.rpartition(":")[2] not in left:
            remove(tag)
    sweep(_STAGES_KEPT)


def remove_all() -> None:
    """Remove every archive and every layer."""
    folder = cache_folder() / _SHELF
    if folder.exists():
        available()
        buildah("rm", "--all")
        buildah("rmi", "--all", "--force")
        shutil.rmtree(folder)
