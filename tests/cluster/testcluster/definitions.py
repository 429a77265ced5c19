"""The CustomResourceDefinitions of Argo, from the same Go modules as its programs.

Without the descriptions of fields: what is admitted stays the same, and the API server, which reads
the whole of each definition many times over, is done sooner.
"""

import json
from pathlib import Path
from typing import Any, Literal

import yaml

from testcluster.binaries import content_hash, module_folder
from testcluster.cache import cached
from testcluster.programs import PROGRAMS, Name

Project = Literal["argo-workflows", "argo-events"]
PROJECTS: tuple[Project, ...] = ("argo-workflows", "argo-events")

_WHERE: dict[Project, tuple[Name, str, str]] = {
    "argo-workflows": (
        "workflow-controller",
        "github.com/argoproj/argo-workflows/v3",
        "manifests/base/crds/full",
    ),
    "argo-events": ("argo-events", "github.com/argoproj/argo-events", "manifests/base/crds"),
}


def definitions(project: Project) -> Path:
    """Return a JSON file, a List of a project's definitions.

    Raises BinaryMissing when it is not there yet and Go is not installed.
    """
    name, module, folder = _WHERE[project]
    program = PROGRAMS[name]

    def write(fresh: Path) -> None:
        files = sorted((module_folder(program, module) / folder).glob("argoproj.io_*.yaml"))
        items = [
            without_descriptions(yaml.load(path.read_bytes(), yaml.CSafeLoader)) for path in files
        ]
        fresh.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))

    return cached(content_hash(program), "definitions.json", write)


def definition_names(project: Project) -> list[str]:
    """Return the names of a project's definitions."""
    items = json.loads(definitions(project).read_bytes())["items"]
    return [str(item["metadata"]["name"]) for item in items]


def without_descriptions(value: Any) -> Any:
    """Return a schema without texts about its fields; a field named `description` stays."""
    if isinstance(value, dict):
        return {
            key: without_descriptions(inner)
            for key, inner in value.items()
            if not (key == "description" and isinstance(inner, str))
        }
    if isinstance(value, list):
        return [without_descriptions(inner) for inner in value]
    return value
