"""What lineage calls the code that ran: the version, and a digest over the sources installed.

Every build of a version has the same number, but not always the same code: whoever installs from a
checkout, or builds images, has sources of their own.  The digest needs no repository and no build
argument, and is the same in an image, on a laptop and in a checkout of the same sources.
"""

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

OURS: Final = (
    "nexus_api",
    "nexus_evaluation",
    "nexus_knowledge",
    "nexus_models",
    "nexus_pipelines",
    "nexus_registry",
)
"""The packages that steps consist of: what the distribution nexus-pipelines requires of ours."""
_SHOWN = 12  # characters of the digest


@cache
def code_revision() -> str:
    """Return `<version>+<digest>`, as `0.1.0+3f2a9c1d7e40`."""
    found = [find_spec(name) for name in OURS]
    folders = [
        Path(place)
        for spec in found
        if spec is not None
        for place in spec.submodule_search_locations or ()
    ]
    return f"{version('nexus-pipelines')}+{sources_digest(folders)[:_SHOWN]}"


def sources_digest(packages: Iterable[Path]) -> str:
    """Return the sha256 (hex) over the names and contents of the packages' Python sources."""
    total = hashlib.sha256()
    for package in packages:
        files = {
            file.relative_to(package.parent).as_posix(): file
            for file in package.rglob("*.py")
            if "__pycache__" not in file.parts
        }
        for name, file in sorted(files.items()):
            total.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()
