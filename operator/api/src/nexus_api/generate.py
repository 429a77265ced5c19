"""What is written from the models: the definitions under manifests/crds, and their reference."""

from pathlib import Path

import yaml

from nexus_api.kinds import KINDS
from nexus_api.manifests import resolve
from nexus_api.meta import GROUP
from nexus_api.reference import reference_page
from nexus_api.schema import custom_resource_definition

_HEADER = "# Generated from the models of nexus_api by `make generate`; do not edit.\n"


def generated_files() -> dict[str, str]:
    """Return the text of each CustomResourceDefinition by file name."""
    return {
        f"{GROUP}_{kind.plural}.yaml": _HEADER + _as_yaml(custom_resource_definition(kind))
        for kind in KINDS.values()
    }


def _as_yaml(definition: object) -> str:
    class Plain(yaml.SafeDumper):
        """Repeats shared values instead of writing anchors, which reviewers cannot read."""

        def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the dumper's signature
            return True

    def text(dumper: Plain, value: str) -> yaml.Node:
        # Readers of other YAML dialects would take 2e-4 or y for something else than text.
        style = None if isinstance(resolve(value), str) else "'"
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Plain.add_representer(str, text)
    return yaml.dump(definition, Dumper=Plain, sort_keys=False, width=100, allow_unicode=True)


def write(folder: Path) -> list[Path]:
    """Write what differs, remove what is generated no more; returns the paths that changed."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = stale(folder)
    wanted = generated_files()
    for path in changed:
        if path.name in wanted:
            path.write_text(wanted[path.name], encoding="utf-8")
        else:
            path.unlink()
    return changed


def stale(folder: Path) -> list[Path]:
    """Return the paths whose content differs from what the models give, in order of name."""
    wanted = generated_files()
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob(f"{GROUP}_*.yaml")}
    return [
        folder / name
        for name in sorted(wanted.keys() | there.keys())
        if wanted.get(name) != there.get(name)
    ]


def write_reference(page: Path) -> list[Path]:
    """Write the reference page where it differs; returns the paths that changed."""
    changed = stale_reference(page)
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(reference_page(), encoding="utf-8")
    return changed


def stale_reference(page: Path) -> list[Path]:
    """Return the page's path when its content differs from what the models give."""
    there = page.read_text(encoding="utf-8") if page.exists() else None
    return [] if there == reference_page() else [page]
