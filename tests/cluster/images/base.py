"""The base of every test image: Debian with its Python 3.11, made by debootstrap.

It stands for `python:3.11-slim`, which a machine without an image registry cannot pull.  It holds
no more than that image has, so that what a Dockerfile forgets to install is missed here too.
"""

import hashlib
import shutil
import tempfile
from pathlib import Path

from testcluster.cache import cached

from images import host
from images.buildah import buildah, checked, in_store

_PACKAGES = ("ca-certificates", "netbase", "python3", "python3-venv", "tzdata")
_SECONDS = 900.0
# Kept out now and in whatever a Dockerfile installs on top.
_EXCLUDED = ("doc", "man", "info", "locale", "lintian", "bug")
_REVISION = "1"  # counted up when the recipe below changes
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}


def key() -> str:
    """Return what the base is made from as a short hash; mirrors and dates are no part of it."""
    recipe = "\n".join((_REVISION, host.RELEASE, *_PACKAGES, *_EXCLUDED))
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def base_image() -> str:
    """Return the name of the base image in buildah's store, made now when it is not there."""
    name = f"localhost/nexus-base:{key()}"
    if not in_store(name):
        _load(cached(f"images/base/{key()}", "base.tar", _archive), name)
    return name


def _archive(target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="nexus-base-") as folder:
        checked(
            [
                "debootstrap",
                "--variant=minbase",
                f"--include={','.join(_PACKAGES)}",
                host.RELEASE,
                folder,
                host.mirrors().archive,
            ],
            what="debootstrap",
            seconds=_SECONDS,
        )
        Path(folder).chmod(0o755)
        _prune(Path(folder))
        checked(
            ["tar", "--numeric-owner", "--exclude=./dev/*", "-C", folder, "-cf", str(target), "."],
            what="tar",
            seconds=_SECONDS,
        )


def _load(archive: Path, name: str) -> None:
    container = buildah("from", "--pull-never", "scratch").strip()
    try:
        buildah("add", container, str(archive), "/")
        for variable, value in _ENVIRONMENT.items():
            buildah("config", "--env", f"{variable}={value}", container)
        buildah("config", "--cmd", "python3", container)
        buildah("commit", container, name)
    finally:
        buildah("rm", container)


def _prune(root: Path) -> None:
    rules = "".join(f"path-exclude=/usr/share/{name}/*\n" for name in _EXCLUDED)
    (root / "etc/dpkg/dpkg.cfg.d/nexus-small").write_text(rules)
    emptied = (
        *(f"usr/share/{name}" for name in _EXCLUDED),
        "var/cache/apt",
        "var/lib/apt/lists",
        "var/log",
        "var/cache/debconf",
        "tmp",
    )
    for path in emptied:
        for child in (root / path).glob("*"):
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child)
            else:
                child.unlink()
    for place in (root / "etc/apt/sources.list", root / "etc/pip.conf", root / "etc/resolv.conf"):
        place.write_text("")  # an empty file is what builds mount the machine's own over
    (root / "etc/hostname").unlink(missing_ok=True)
