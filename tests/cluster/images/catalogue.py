"""Every image by name: those that the project publishes, and those that tests need beside them."""

from dataclasses import dataclass
from pathlib import Path

from images.errors import ImageMissing

ROOT = Path(__file__).parents[3]
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Recipe:
    """A Dockerfile and the folder that it copies from."""

    name: str
    dockerfile: Path
    context: Path
    own: bool


_OWN = {
    "nexus-operator": "operator/controller",
    "nexus-gateway": "services/gateway",
    "nexus-embedder": "services/embedder",
    "nexus-pipelines": "pipelines",
    "nexus-runtime-llamacpp": "services/runtime",
}
_THIRD_PARTY = (
    "postgresql",
    "milvus-lite",
    "mlflow",
    "prometheus",
    "alertmanager",
    "scripted-step",
)

OWN = tuple(_OWN)
NAMES = (*OWN, *_THIRD_PARTY)


def recipe(name: str) -> Recipe:
    """Return the recipe of an image.  Raises ImageMissing when there is none of that name."""
    if name in _OWN:
        return Recipe(name, ROOT / _OWN[name] / "Dockerfile", ROOT, own=True)
    if name in _THIRD_PARTY:
        folder = _HERE / name
        return Recipe(name, folder / "Dockerfile", folder, own=False)
    raise ImageMissing(f"there is no image {name!r}: choose among {', '.join(NAMES)}")
