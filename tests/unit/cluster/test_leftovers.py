"""What a container runtime that was killed amid its work has left in folders that all share."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from testcluster import leftovers
from testcluster.config import ClusterConfig


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClusterConfig:
    """A cluster that was killed, on a host of its own."""
    for name in ("_CONTAINER_LOGS", "_CNI_RESULTS", "_SHIM_SOCKETS"):
        folder = tmp_path / "host" / name
        folder.mkdir(parents=True)
        monkeypatch.setattr(leftovers, name, folder)
    config = ClusterConfig(folder=tmp_path / "cluster", name="test-leftovers")
    config.containerd_state.mkdir(parents=True)
    return config


def loopback(pod: str, state: Path) -> Path:
    """Write what the CNI library keeps of a pod's loopback, in a runtime with this state folder."""
    file = leftovers._CNI_RESULTS / f"cni-loopback-{pod}-lo"
    namespace = str(state / "io.containerd.grpc.v1.cri" / "netns" / f"cni-{pod}")
    file.write_text(json.dumps({"result": {"interfaces": [{"name": "lo", "sandbox": namespace}]}}))
    return file


def shim_socket(config: ClusterConfig, pod: str) -> Path:
    """Make what containerd has as a shim's socket."""
    name = sha256(f"{config.containerd_socket}/k8s.io/{pod}".encode()).hexdigest()
    file = leftovers._SHIM_SOCKETS / name
    file.touch()
    return file


def removed(config: ClusterConfig, *ours: Path) -> None:
    assert {f"file {path}" for path in ours} <= set(leftovers.found(config))
    leftovers.remove_all(config)
    assert leftovers.found(config) == []
    assert not [path for path in ours if path.exists()]


def test_a_pod_whose_loopback_alone_was_set_up_or_is_left_leaves_nothing(
    config: ClusterConfig,
) -> None:
    """The two networks of a pod are set up side by side, and taken down one after the other."""
    lone = loopback("a", config.containerd_state)
    cut_short = leftovers._CNI_RESULTS / "cni-loopback-b-lo"
    cut_short.touch()
    whole = loopback("c", config.containerd_state)
    network = leftovers._CNI_RESULTS / f"{config.pod_network}-c-eth0"
    network.touch()
    theirs = loopback("d", Path("/run/containerd"))
    removed(config, lone, cut_short, whole, network)
    assert theirs.exists()


def test_a_shim_whose_bundle_does_not_name_its_socket_leaves_none(config: ClusterConfig) -> None:
    """None yet, or no more: a pod has a folder from before its shim until after it."""
    noted = leftovers._SHIM_SOCKETS / "as-another-release-names-it"
    noted.touch()
    bundle = config.containerd_state / "io.containerd.runtime.v2.task" / "k8s.io" / "a"
    bundle.mkdir(parents=True)
    (bundle / "address").write_text(f"unix://{noted}")
    pods = config.folder / "containerd" / "io.containerd.grpc.v1.cri" / "sandboxes"
    (pods / "b").mkdir(parents=True)
    unnamed, theirs = shim_socket(config, "b"), shim_socket(config, "c")
    removed(config, noted, unnamed)
    assert theirs.exists()


def test_a_folder_that_the_cluster_was_the_first_to_need_goes_with_it(
    config: ClusterConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of runc too, which it makes beside its own; but none that somebody has a file in."""
    host = tmp_path / "host" / "containerd"
    monkeypatch.setattr(leftovers, "_SYSCTLS", ())
    monkeypatch.setattr(leftovers, "_SHIM_SOCKETS", host / "s")
    monkeypatch.setattr(leftovers, "_RUNC_STATE", host / "runc" / "k8s.io")
    leftovers.remember_host(config)
    for folder in (host / "s", host / "runc" / "k8s.io"):
        folder.mkdir(parents=True)
    leftovers.remove_all(config)
    assert not host.exists()

    leftovers.remember_host(config)
    (host / "runc" / "k8s.io").mkdir(parents=True)
    (host / "runc" / "theirs").touch()
    leftovers.remove_all(config)
    assert [path.name for path in (host / "runc").iterdir()] == ["theirs"]
