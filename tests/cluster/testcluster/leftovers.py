"""What a cluster may leave on the host outside its own folder, and how each is taken away.

Everything here finds things by name or place, never by a running part: it works after a crash.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from testcluster import cgroups, daemons
from testcluster.config import ClusterConfig
from testcluster.errors import LeftBehind

_SECONDS = 30.0
# The kubelet writes these; they are put back as they were.
_SYSCTLS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
# Compiled into the kubelet, containerd and the CNI library.
_CONTAINER_LOGS = Path("/var/log/containers")
_DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")
_CNI_RESULTS = Path("/var/lib/cni/results")
_SHIM_SOCKETS = Path("/run/containerd/s")
# Made by runc when a shim that was stopped as it started is cleaned up after: it has no settings.
_RUNC_STATE = Path("/run/containerd/runc/k8s.io")


def remember_host(config: ClusterConfig) -> None:
    """Note how the host was: its kernel settings, and which folders were not there."""
    folder = _memory(config)
    folder.mkdir(parents=True, exist_ok=True)
    for name in _SYSCTLS:
        source = Path("/proc/sys") / name
        if source.exists():
            (folder / name.replace("/", ".")).write_text(source.read_text())
    absent = [str(path) for path in _shared_folders() if not path.exists()]
    (folder / "absent").write_text("\n".join(absent))


def remove_all(config: ClusterConfig) -> None:
    """End every process and remove everything else.  Raises LeftBehind with what would not go."""
    steps: list[Callable[[ClusterConfig], None]] = [
        _kill,
        _unmount,
        _remove_groups,
        _remove_strays,
        _restore_host,
        _remove_folder,
    ]
    for step in steps:
        step(config)


def found(config: ClusterConfig) -> list[str]:
    """Return what of a cluster is on this machine, in words; empty when there is nothing."""
    return [
        *(f"process {pid}" for pid in sorted(cgroups.pids(config.name))),
        *(f"mount {path}" for path in _mounts(config)),
        *([f"control group {config.name}"] if cgroups.exists(config.name) else []),
        *(f"file {path}" for path in _strays(config)),
        *([f"folder {config.folder}"] if config.folder.exists() else []),
    ]


def _kill(config: ClusterConfig) -> None:
    cgroups.kill(config.name)
    if config.folder.exists():
        daemons.reap(config)


def _remove_groups(config: ClusterConfig) -> None:
    cgroups.remove(config.name)


def _unmount(config: ClusterConfig) -> None:
    for path in sorted(_mounts(config), reverse=True):
        subprocess.run(
            ["umount", "--lazy", path], check=False, capture_output=True, timeout=_SECONDS
        )
    # Checked again: to empty a folder with a mount in it would empty what is mounted there.
    if left := _mounts(config):
        raise LeftBehind(f"mounts that cannot be undone: {', '.join(left)}")


def _mounts(config: ClusterConfig) -> list[str]:
    """Return where something is mounted in the cluster's folder."""
    with Path("/proc/self/mounts").open(encoding="utf-8") as file:
        # The kernel writes \040 for a blank.
        paths = [line.split(" ")[1].replace("\\040", " ") for line in file]
    return [path for path in paths if Path(path).is_relative_to(config.folder)]


def _strays(config: ClusterConfig) -> list[Path]:
    """Return files of this cluster in folders that are shared by all that run on the host."""
    links = [
        path
        for path in _CONTAINER_LOGS.glob("*.log")
        if path.is_symlink() and path.readlink().is_relative_to(config.folder)
    ]
    results = _CNI_RESULTS.glob(f"{config.pod_network}-*-eth0")
    loopbacks = (path for path in _CNI_RESULTS.glob("cni-loopback-*") if _is_of(config, path))
    return [*links, *results, *loopbacks, *_shim_sockets(config)]


def _is_of(config: ClusterConfig, loopback: Path) -> bool:
    """Return whether the result for a loopback is of a pod of this cluster.

    It names the pod's network namespace.  An empty one is nobody's: who was to write it was killed.
    """
    try:
        said = loopback.read_text(encoding="utf-8")
    except FileNotFoundError:  # another's, who has just removed it
        return False
    return not said or f'"{config.containerd_state}/' in said


def _shim_sockets(config: ClusterConfig) -> list[Path]:
    """Return the sockets of shims that are there.

    A shim's bundle names its socket.  But a shim may be killed before that is written, and a bundle
    may go before its shim; containerd has another folder of each pod for longer, and names the
    socket by it.
    """
    bundles = config.containerd_state.glob("io.containerd.runtime.v2.task/*/*/address")
    noted = (Path(note.read_text().strip().removeprefix("unix://")) for note in bundles)
    pods = (config.folder / "containerd" / "io.containerd.grpc.v1.cri" / "sandboxes").glob("*")
    keys = (f"{config.containerd_socket}/k8s.io/{pod.name}" for pod in pods)
    derived = (_SHIM_SOCKETS / sha256(key.encode()).hexdigest() for key in keys)
    ours = {path for path in noted if path.is_relative_to(_SHIM_SOCKETS)} | {*derived}
    return sorted(path for path in ours if path.exists())


def _remove_strays(config: ClusterConfig) -> None:
    for path in _strays(config):
        path.unlink(missing_ok=True)


def _shared_folders() -> list[Path]:
    """Return the shared folders and those above them that a cluster may be the first to need."""
    return [
        _CONTAINER_LOGS,
        _DEVICE_PLUGINS,
        _DEVICE_PLUGINS.parent,
        _CNI_RESULTS,
        _CNI_RESULTS.parent,
        _SHIM_SOCKETS,
        _RUNC_STATE,
        _RUNC_STATE.parent,
        _SHIM_SOCKETS.parent,
    ]


def _restore_host(config: ClusterConfig) -> None:
    folder = _memory(config)
    if not folder.exists():
        return
    for name in _SYSCTLS:
        noted = folder / name.replace("/", ".")
        if noted.exists():
            (Path("/proc/sys") / name).write_text(noted.read_text())
    told = folder / "absent"  # not there yet: nothing had started
    absent = {Path(line) for line in told.read_text().split("\n") if line} if told.exists() else ()
    for path in sorted(absent, reverse=True):
        if path == _DEVICE_PLUGINS:  # the kubelet's socket and check-point, and nobody else's
            shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):  # gone, or used by somebody else by now
            path.rmdir()


def _remove_folder(config: ClusterConfig) -> None:
    if config.folder.exists():
        shutil.rmtree(config.folder)


def _memory(config: ClusterConfig) -> Path:
    return config.folder / "host"
