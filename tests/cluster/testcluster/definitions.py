"""The CustomResourceDefinitions of Argo, from the same Go modules as its programs."""

import shutil
from pathlib import Path
from typing import Literal

from testcluster.binaries import content_hash, module_folder
from testcluster.cache import cached
from testcluster.programs import PROGRAMS, Name

Project = Literal["argo-workflows", "argo-events"]

_WHERE: dict[Project, tuple[Name, str, str]] = {
    "argo-workflows": (
        "workflow-controller",
        "github.com/argoproj/argo-workflows/v3",
        "manifests/base/crds/full",
    ),
    "argo-events": ("argo-events", "github.com/argoproj/argo-events", "manifests/base/crds"),
}


def definitions(project: Project) -> list[Path]:
    """Return the files with a project's definitions.  Raises BinaryMissing when they need Go."""
    name, module, folder = _WHERE[project]
    program = PROGRAMS[name]

    def copy(fresh: Path) -> None:
        fresh.mkdir()
        for path in (module_folder(program, module) / folder).glob("argoproj.io_*.yaml"):
            shutil.copyfile(path, fresh / path.name)

    return sorted(cached(content_hash(program), "definitions", copy).iterdir())
