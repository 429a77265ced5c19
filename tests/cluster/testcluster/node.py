"""Starts the node of a cluster: containerd, kubelet, kube-proxy, and its images."""

import subprocess
from pathlib import Path

from testcluster import commands, daemons, network, render
from testcluster.binaries import binary
from testcluster.config import ClusterConfig
from testcluster.errors import ClusterFailed
from testcluster.static_images import static_image

_IMPORT_SECONDS = 300.0


def prepare(config: ClusterConfig) -> None:
    """Write the configuration of every part, and the folders of the volumes."""
    (config.folder / "cni").mkdir()
    (config.folder / "cni" / "10-pods.conflist").write_text(render.pod_network(config))
    (config.folder / "containerd.toml").write_text(render.containerd(config))
    (config.folder / "kubelet.yaml").write_text(render.kubelet(config))
    (config.folder / "resolv.conf").touch()  # nothing outside can be asked
    for name in render.volume_names(config):
        folder = config.volumes_folder / name
        folder.mkdir(parents=True)
        folder.chmod(0o777)  # pods write as whoever they are


def start(config: ClusterConfig) -> None:
    """Start the node's processes; the pause image is there before the first pod."""
    kube = binary("kube")
    daemons.start(config, "containerd", commands.containerd(config))
    daemons.wait_until(config, "containerd listening", config.containerd_socket.is_socket)
    load_image(config, static_image("pod"))
    daemons.start(config, "kubelet", commands.kubelet(config, kube))
    daemons.start(config, "kube-proxy", commands.kube_proxy(config, kube))


def load_image(config: ClusterConfig, archive: Path) -> None:
    """Give the node the images of a Docker or OCI archive.  Raises ClusterFailed."""
    command = [
        "ctr",
        f"--address={config.containerd_socket}",
        "--namespace=k8s.io",
        "images",
        "import",
        str(archive),
    ]
    try:
        subprocess.run(
            network.inside(config, command),
            check=True,
            capture_output=True,
            text=True,
            timeout=_IMPORT_SECONDS,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = str(error.stderr or error).strip()
        raise ClusterFailed(f"{archive} cannot be loaded: {said}") from error
