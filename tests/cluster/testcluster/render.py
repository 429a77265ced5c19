"""The configuration files of a cluster's parts, as pure functions of its configuration."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from testcluster.config import ClusterConfig
from testcluster.static_images import reference


def kubeconfig(config: ClusterConfig, certificate: str) -> str:
    """Return a kubeconfig for the user of one certificate in the cluster's `pki` folder."""
    return as_yaml(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": config.name,
                    "cluster": {
                        "server": config.api_url,
                        "certificate-authority": f"{config.pki}/ca.crt",
                    },
                }
            ],
            "users": [
                {
                    "name": certificate,
                    "user": {
                        "client-certificate": f"{config.pki}/{certificate}.crt",
                        "client-key": f"{config.pki}/{certificate}.key",
                    },
                }
            ],
            "contexts": [
                {"name": "default", "context": {"cluster": config.name, "user": certificate}}
            ],
            "current-context": "default",
        }
    )


def containerd(config: ClusterConfig) -> str:
    """Return containerd's configuration; only shims' sockets lie outside the folder."""
    return f"""\
version = 2
root = "{config.folder}/containerd"
state = "{config.containerd_state}"
[grpc]
  address = "{config.containerd_socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{config.folder}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  # Without CAP_SYS_RESOURCE runc may not lower a score, and dies of it.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  sandbox_image = "{reference("pod")}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{config.cni_plugins}"
    conf_dir = "{config.folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "{config.runc_state}"
"""


def pod_network(config: ClusterConfig) -> str:
    """Return the CNI configuration: a bridge inside the cluster's network namespace."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipMasq": True,
        "ipam": {
            "type": "host-local",
            "dataDir": f"{config.folder}/run/addresses",
            "ranges": [[{"subnet": str(config.pods)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps(
        {"cniVersion": "0.4.0", "name": config.pod_network, "plugins": [bridge, ports]}
    )


def kubelet(config: ClusterConfig) -> str:
    """Return the kubelet's configuration."""
    return as_yaml(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{config.name}",
            "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{config.containerd_socket}",
            "authentication": {
                "anonymous": {"enabled": False},
                "x509": {"clientCAFile": f"{config.pki}/ca.crt"},
                "webhook": {"enabled": True},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{config.pki}/node.crt",
            "tlsPrivateKeyFile": f"{config.pki}/node.key",
            "clusterDNS": [str(config.dns)],
            "clusterDomain": "cluster.local",
            "resolvConf": f"{config.folder}/resolv.conf",
            "podLogsDir": f"{config.logs}/pods",
            "volumePluginDir": f"{config.folder}/kubelet/plugins",
            # The disk is the developer's: pods are not evicted for what else lies on it.
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "imagefs.available": "1%",
            },
            "imageGCHighThresholdPercent": 99,
            "imageGCLowThresholdPercent": 98,
            "maxPods": 200,
            "syncFrequency": "20s",  # a changed ConfigMap is in its pods after a minute else
        }
    )


def storage(config: ClusterConfig) -> list[dict[str, Any]]:
    """Return the default StorageClass and its volumes, which no provisioner makes."""
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "Immediate",
    }
    return [storage_class, *(_volume(config, name) for name in volume_names(config))]


def volume_names(config: ClusterConfig) -> list[str]:
    """Return the names of the PersistentVolumes, which are those of their folders too."""
    return [f"volume-{number:02d}" for number in range(config.volumes)]


def _volume(config: ClusterConfig, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": config.volume_size},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "standard",
            "hostPath": {"path": str(config.volumes_folder / name), "type": "Directory"},
        },
    }


def as_yaml(value: Mapping[str, Any]) -> str:
    """Return a mapping as YAML in the order of its keys."""
    return yaml.safe_dump(dict(value), sort_keys=False)
