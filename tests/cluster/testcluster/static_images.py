"""Images of one static program on an empty root, written as Docker archives without any tool.

`static_image(name)` is a file that `ctr images import` takes; the cluster knows it afterwards as
`local/NAME:test`.  Equal programs give equal archives, byte by byte.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from testcluster.binaries import binary, content_hash
from testcluster.cache import cached
from testcluster.programs import PROGRAMS, Name

TAG = "test"
_FORMAT = "1"  # of the archive and its layer; counted up when these change
_EPOCH = "1970-01-01T00:00:00Z"
_USER = "65532:65532"


@dataclass(frozen=True)
class StaticImage:
    """A program's place in its image and how it is started."""

    program: Name
    path: str
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def configuration(self, layer: str) -> dict[str, object]:
        """Return the OCI image configuration over one layer with this digest."""
        environment = {"PATH": "/bin:/usr/bin", **self.environment}
        return {
            "architecture": "amd64",
            "os": "linux",
            "created": _EPOCH,
            "config": {
                "User": _USER,
                "Env": [f"{key}={value}" for key, value in environment.items()],
                "Entrypoint": [self.path],
                "Cmd": list(self.arguments),
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
            "history": [{"created": _EPOCH, "created_by": "testcluster.static_images"}],
        }


STATIC_IMAGES: dict[str, StaticImage] = {
    "pod": StaticImage("pod", "/bin/pod", ("pause",)),
    "coredns": StaticImage("coredns", "/bin/coredns"),
    # The controller copies this very path into each pod of a workflow.
    "argoexec": StaticImage("argoexec", "/bin/argoexec"),
    "argo-events": StaticImage("argo-events", "/bin/argo-events"),
    "nats": StaticImage("nats-server", "/bin/nats-server"),
    "minio": StaticImage("minio", "/bin/minio", environment={"HOME": "/tmp"}),
}


def reference(name: str) -> str:
    """Return the name under which containerd keeps an image of the tests."""
    return f"docker.io/local/{name}:{TAG}"


def static_image(name: str) -> Path:
    """Return the archive of an image, written now when it is not there.

    Raises BinaryMissing when its program cannot be built, KeyError for a name that is none of ours.
    """
    image = STATIC_IMAGES[name]
    key = hashlib.sha256(
        f"{_FORMAT} {image.configuration('')} {content_hash(PROGRAMS[image.program])}".encode()
    ).hexdigest()[:16]
    program = binary(image.program)
    return cached(key, f"{name}.tar", lambda fresh: write_archive(name, image, program, fresh))


def write_archive(name: str, image: StaticImage, program: Path, archive: Path) -> None:
    """Write the Docker archive of an image whose only file is `program`."""
    layer = archive.with_suffix(".layer")
    with layer.open("wb") as file:
        _write_layer(image, program, file)
    with layer.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    configuration = json.dumps(image.configuration(digest)).encode()
    described = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = [
        {"Config": described, "RepoTags": [reference(name)], "Layers": [f"{digest}/layer.tar"]}
    ]
    with tarfile.open(archive, "w") as tar:
        _add_text(tar, "manifest.json", json.dumps(manifest).encode())
        _add_text(tar, described, configuration)
        with layer.open("rb") as file:
            entry = tarfile.TarInfo(f"{digest}/layer.tar")
            entry.size = layer.stat().st_size
            tar.addfile(entry, file)
    layer.unlink()


def _write_layer(image: StaticImage, program: Path, file: io.BufferedWriter) -> None:
    with tarfile.open(fileobj=file, mode="w") as tar:
        for folder in _folders(image.path):
            tar.addfile(folder)
        entry = tarfile.TarInfo(image.path.lstrip("/"))
        entry.mode = 0o755
        entry.size = program.stat().st_size
        with program.open("rb") as source:
            tar.addfile(entry, source)


def _folders(path: str) -> Iterator[tarfile.TarInfo]:
    """Yield the folders of an image: the program's own, and one that anybody may write to."""
    own = Path(path.lstrip("/")).parent
    for name, mode in ((str(own), 0o755), ("tmp", 0o1777)):
        entry = tarfile.TarInfo(name)
        entry.type = tarfile.DIRTYPE
        entry.mode = mode
        yield entry


def _add_text(tar: tarfile.TarFile, name: str, text: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(text)
    tar.addfile(entry, io.BytesIO(text))
