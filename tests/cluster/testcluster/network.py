"""The network namespace that a cluster lives in, so that the host's own rules stay as they were.

It has no default route: an address that nothing serves is unreachable at once, where the host would
route it out of the machine.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testcluster.config import ClusterConfig
from testcluster.errors import ClusterFailed, ClusterUnavailable

_SECONDS = 60.0
_CLONE_NEWNET = 0x40000000
_BRIDGED_PACKETS = "net/bridge/bridge-nf-call-iptables"


def create(config: ClusterConfig) -> None:
    """Make the namespace with the node's address on a bridge and a route for Services to it."""
    _load_bridge_filter()
    config.namespace_path.touch()
    # A mount, which goes with the others of the cluster, and the namespace with it.
    _checked(["unshare", f"--net={config.namespace_path}", "true"])
    for command in (
        ["ip", "link", "set", "lo", "up"],
        ["ip", "link", "add", config.bridge, "type", "bridge"],
        ["ip", "address", "add", str(config.node), "dev", config.bridge],
        ["ip", "link", "set", config.bridge, "up"],
        # The node reaches Services too: kube-proxy rewrites their addresses after routing.
        ["ip", "route", "add", str(config.services), "dev", config.bridge],
    ):
        _checked(inside(config, command))
    with joined(config):
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n", encoding="ascii")
        # A reply from pod to pod crosses the bridge alone; without this it would escape the
        # connection table, and come from an address that nobody asked.
        (Path("/proc/sys") / _BRIDGED_PACKETS).write_text("1\n", encoding="ascii")


def inside(config: ClusterConfig, command: list[str]) -> list[str]:
    """Return a command that runs another in the namespace.

    `ip netns exec` would remount /sys and so hide the control groups from the kubelet.
    """
    return ["nsenter", f"--net={config.namespace_path}", "--", *command]


@contextmanager
def joined(config: ClusterConfig) -> Iterator[None]:
    """Have this thread and what it starts in the namespace; open sockets stay outside."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(config.namespace_path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _enter(own)
    finally:
        os.close(own)


def _enter(descriptor: int) -> None:
    # os.setns came with Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise ClusterFailed(f"the network namespace cannot be entered: {os.strerror(number)}")


def _load_bridge_filter() -> None:
    if (Path("/proc/sys") / _BRIDGED_PACKETS).exists():
        return
    if shutil.which("modprobe") is not None:
        subprocess.run(["modprobe", "br_netfilter"], check=False, timeout=_SECONDS)
    if not (Path("/proc/sys") / _BRIDGED_PACKETS).exists():
        raise ClusterUnavailable(
            "the kernel module br_netfilter is not loaded, which Services need: "
            "run `modprobe br_netfilter`"
        )


def _checked(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip()
        raise ClusterFailed(f"`{' '.join(command)}` failed: {said}") from error
