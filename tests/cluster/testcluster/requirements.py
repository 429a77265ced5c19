"""What a machine needs to run a cluster, and the words for what it lacks."""

import os
import platform
import shutil
from pathlib import Path

from testcluster.config import ClusterConfig
from testcluster.errors import ClusterUnavailable

# Each tool with the Debian package that has it.
_TOOLS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "iptables": "iptables",
}
_PLUGINS = ("bridge", "host-local", "loopback", "portmap")
_PLUGINS_PACKAGE = "containernetworking-plugins"


def missing(config: ClusterConfig) -> list[str]:
    """Return what keeps this machine from running a cluster, each with what to do."""
    if platform.system() != "Linux":
        return ["a cluster needs Linux"]
    packages = {package for tool, package in _TOOLS.items() if shutil.which(tool) is None}
    if any(not (config.cni_plugins / plugin).exists() for plugin in _PLUGINS):
        packages.add(_PLUGINS_PACKAGE)
    lacks = []
    if packages:
        lacks.append(f"`apt-get install --no-install-recommends {' '.join(sorted(packages))}`")
    if os.geteuid() != 0:
        lacks.append("run as root, who may make namespaces and control groups")
    if "overlay" not in Path("/proc/filesystems").read_text(encoding="ascii"):
        lacks.append("`modprobe overlay`, the kernel's overlay file system")
    return lacks


def check(config: ClusterConfig) -> None:
    """Raise ClusterUnavailable with everything that this machine lacks."""
    if lacks := missing(config):
        raise ClusterUnavailable(f"this machine cannot run the test cluster: {'; '.join(lacks)}")
