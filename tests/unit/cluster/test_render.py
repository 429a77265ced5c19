"""What the parts of a cluster are told: files and command lines, from its configuration alone."""

import json
import tomllib
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import yaml
from testcluster import commands, render
from testcluster.config import ClusterConfig

CONFIG = ClusterConfig(folder=Path("/srv/cluster"), name="trial")


def test_containerd_keeps_to_the_clusters_folder() -> None:
    told = tomllib.loads(render.containerd(CONFIG))
    cri = told["plugins"]["io.containerd.grpc.v1.cri"]
    runc = cri["containerd"]["runtimes"]["runc"]["options"]["Root"]
    places = [told["root"], told["state"], told["grpc"]["address"], cri["cni"]["conf_dir"], runc]
    assert all(Path(place).is_relative_to("/srv/cluster") for place in places)
    assert cri["restrict_oom_score_adj"] is True
    assert cri["netns_mounts_under_state_dir"] is True


def test_kubelet_stays_below_the_clusters_control_group() -> None:
    told = yaml.safe_load(render.kubelet(CONFIG))
    assert told["cgroupRoot"] == "/trial"
    assert told["clusterDNS"] == ["10.96.0.10"]
    assert told["podLogsDir"] == "/srv/cluster/logs/pods"


def test_pods_have_addresses_of_their_range() -> None:
    told = json.loads(render.pod_network(replace(CONFIG, pods=IPv4Network("10.9.1.0/24"))))
    assert told["name"] == "trial-pods"
    assert told["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.9.1.0/24"}]]


def test_kubeconfig_names_the_user_by_certificate() -> None:
    told = yaml.safe_load(render.kubeconfig(CONFIG, "node"))
    assert told["clusters"][0]["cluster"]["server"] == "https://10.250.0.1:6443"
    assert told["users"][0]["user"]["client-key"] == "/srv/cluster/pki/node.key"


def test_one_class_is_the_default_and_its_volumes_are_many() -> None:
    storage_class, *volumes = render.storage(replace(CONFIG, volumes=3))
    assert storage_class["metadata"]["name"] == "standard"
    assert [volume["spec"]["hostPath"]["path"] for volume in volumes] == [
        f"/srv/cluster/volumes/volume-0{number}" for number in range(3)
    ]
    assert {volume["spec"]["storageClassName"] for volume in volumes} == {"standard"}


def test_own_flags_come_last_so_that_they_win() -> None:
    config = replace(
        CONFIG,
        api_server_flags=("--v=4",),
        controller_manager_flags=("--v=5",),
        kubelet_flags=("--v=6",),
    )
    kube = Path("/bin/kube")
    assert commands.api_server(config, kube)[-1] == "--v=4"
    assert commands.controller_manager(config, kube)[-1] == "--v=5"
    assert commands.kubelet(config, kube)[-1] == "--v=6"


def test_audit_log_is_written_only_when_asked_for() -> None:
    kube = Path("/bin/kube")
    assert not any("audit" in flag for flag in commands.api_server(CONFIG, kube))
    config = replace(CONFIG, audit_policy=Path("/srv/policy.yaml"))
    flags = commands.api_server(config, kube)
    assert "--audit-policy-file=/srv/policy.yaml" in flags
    assert "--audit-log-path=/srv/cluster/logs/audit.jsonl" in flags


def test_api_server_is_found_at_the_nodes_address_never_at_loopback() -> None:
    assert "--advertise-address=10.250.0.1" in commands.api_server(CONFIG, Path("/bin/kube"))
