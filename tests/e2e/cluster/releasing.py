"""Images of a next release for the test cluster: what an image has, and one more layer."""

import io
import json
import tarfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from images import Built
from testcluster.cluster import Cluster

NOTE = "etc/nexus-release"
"""The file by which a container of the next release can be told."""
_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
Content = dict[str, Any]


def next_release(cluster: Cluster, image: Built) -> Built:
    """Load and return another image: other layers, digests and name, the same program.

    Of the archive only what is new goes to the node, which has the layers below already.
    """
    newer = replace(image, reference=f"{image.reference}-next")
    manifest = _json(cluster, _digest(cluster, image))
    config = _json(cluster, manifest["config"]["digest"])
    layer = _layer(newer.reference.encode())
    config["rootfs"]["diff_ids"].append(_named(layer))
    config["history"].append({"created_by": "the next release", "comment": newer.reference})
    config["config"].setdefault("Labels", {})["org.opencontainers.image.version"] = "next"
    text = json.dumps(config).encode()
    manifest["config"] |= {"digest": _named(text), "size": len(text)}
    manifest["layers"].append({"mediaType": _LAYER, "digest": _named(layer), "size": len(layer)})
    told = json.dumps(manifest).encode()
    index = {
        "schemaVersion": 2,
        "manifests": [
            {
                "mediaType": manifest["mediaType"],
                "digest": _named(told),
                "size": len(told),
                "annotations": {"io.containerd.image.name": f"docker.io/{newer.reference}"},
            }
        ],
    }
    with TemporaryDirectory() as folder:
        archive = Path(folder) / "next.tar"
        with tarfile.open(archive, "w") as packed:
            _add(packed, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
            _add(packed, "index.json", json.dumps(index).encode())
            for blob in (told, text, layer):
                _add(packed, f"blobs/{_named(blob).replace(':', '/')}", blob)
        cluster.load_image(archive)
    return newer


def _layer(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as layer:
        _add(layer, NOTE, content)
    return packed.getvalue()


def _add(packed: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    packed.addfile(entry, io.BytesIO(content))


def _named(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"


def _digest(cluster: Cluster, image: Built) -> str:
    """Return the digest of an image's manifest on the node."""
    name = f"docker.io/{image.reference}"
    _, row = _said(cluster, "images", "list", f"name=={name}").splitlines()
    return row.split()[2]


def _json(cluster: Cluster, digest: str) -> Content:
    found: Content = json.loads(_said(cluster, "content", "get", digest))
    return found


def _said(cluster: Cluster, *words: str) -> str:
    socket = f"--address={cluster.config.containerd_socket}"
    return cluster.run(["ctr", socket, "--namespace=k8s.io", *words]).stdout
