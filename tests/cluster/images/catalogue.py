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
    distributions: tuple[Path, ...] = ()
    """Folders of what it is for; the entry point is the first one's."""
    locks: tuple[Path, ...] = ()
    """What it installs of others, pinned by hash."""
    torch: bool = False
    """Whether it takes a CPU build of torch where there is one (`TORCH_WHEELS`)."""


_OWN = {
    "nexus-operator": ("operator/controller",),
    "nexus-gateway": ("services/gateway",),
    "nexus-embedder": ("services/embedder",),
    "nexus-monitor": ("services/monitor",),
    "nexus-pipelines": ("pipelines",),
    "nexus-runtime-llamacpp": ("services/runtime",),
    "nexus-trainer": ("pipelines", "services/runtime"),
}
_ELSEWHERE = {"nexus-trainer": "pipelines/trainer"}  # a second image of one distribution
_LOCKS = {"nexus-trainer": ("requirements-train.txt", "requirements.txt")}
_THIRD_PARTY = (
    "postgresql",
    "milvus-lite",
    "mlflow",
    "prometheus",
    "alertmanager",
    "scripted-step",
    "scripted-vllm",
)

OWN = tuple(_OWN)
NAMES = (*OWN, *_THIRD_PARTY)


def recipe(name: str) -> Recipe:
    """Return the recipe of an image.  Raises ImageMissing when there is none of that name."""
    if name in _OWN:
        folders = tuple(ROOT / folder for folder in _OWN[name])
        names = _LOCKS.get(name, ("requirements.txt",))
        locks = tuple(folder / lock for folder, lock in zip(folders, names, strict=True))
        dockerfile = ROOT / _ELSEWHERE.get(name, _OWN[name][0]) / "Dockerfile"
        return Recipe(
            name,
            dockerfile,
            ROOT,
            own=True,
            distributions=folders,
            locks=locks,
            torch="ARG TORCH_WHEELS" in dockerfile.read_text(),
        )
    if name in _THIRD_PARTY:
        folder = _HERE / name
        return Recipe(name, folder / "Dockerfile", folder, own=False)
    raise ImageMissing(f"there is no image {name!r}: choose among {', '.join(NAMES)}")
