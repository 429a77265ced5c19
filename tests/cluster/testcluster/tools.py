"""The client programs of the cluster under their own names, for people's and tests' commands."""

from pathlib import Path

from testcluster.binaries import binary
from testcluster.cache import cache_folder


def tools_folder() -> Path:
    """Return a folder with kubectl, and helm when it is built, to be put on PATH."""
    folder = cache_folder() / "tools"
    folder.mkdir(parents=True, exist_ok=True)
    kubectl = f'#!/bin/sh\nexec "{binary("kube")}" kubectl "$@"\n'
    helm = f'#!/bin/sh\nexec "{binary("helm")}" "$@"\n'
    for name, script in (("kubectl", kubectl), ("helm", helm)):
        path = folder / name
        if not path.exists() or path.read_text() != script:
            fresh = path.with_name(f"{name}.new")
            fresh.write_text(script)
            fresh.chmod(0o755)
            fresh.rename(path)
    return folder
