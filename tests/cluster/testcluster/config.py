"""What can be chosen of a cluster, and the places and addresses that follow from it."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

API_PORT = 6443

_NODE = IPv4Interface("10.250.0.1/24")
_PODS = IPv4Network("10.244.0.0/24")
_SERVICES = IPv4Network("10.96.0.0/16")


@dataclass(frozen=True)
class ClusterConfig:
    """A cluster of one node; everything it has lies in `folder` and under the name `name`.

    `api_server_flags` and the like are added behind our own flags, which they may so override.
    `audit_policy` is a policy file; the API server then writes `audit_log`.
    """

    folder: Path = Path("/var/lib/llmops-nexus-cluster")
    name: str = "llmops-nexus"
    node_name: str = "node0"
    node: IPv4Interface = _NODE
    pods: IPv4Network = _PODS
    services: IPv4Network = _SERVICES
    volumes: int = 40
    volume_size: str = "20Gi"
    api_server_flags: tuple[str, ...] = ()
    controller_manager_flags: tuple[str, ...] = ()
    kubelet_flags: tuple[str, ...] = ()
    audit_policy: Path | None = None
    argo: bool = True
    test_services: bool = True
    cni_plugins: Path = Path("/usr/lib/cni")

    @property
    def namespace_path(self) -> Path:
        """Return the file that stands for the cluster's network namespace."""
        return self.folder / "network"

    @property
    def bridge(self) -> str:
        """Return the link that carries the node's address, inside the namespace."""
        return "node0"

    @property
    def api_url(self) -> str:
        """Return where the API server answers, inside the namespace."""
        return f"https://{self.node.ip}:{API_PORT}"

    @property
    def api_service(self) -> IPv4Address:
        """Return the address of the Service `kubernetes`, the first of the range."""
        return self.services[1]

    @property
    def dns(self) -> IPv4Address:
        """Return the address of the cluster's name server."""
        return self.services[10]

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def audit_log(self) -> Path:
        """Return where the API server writes what was asked of it, when `audit_policy` is set."""
        return self.logs / "audit.jsonl"

    @property
    def admin_kubeconfig(self) -> Path:
        """Return the credentials of a cluster administrator."""
        return self.folder / "admin.kubeconfig"

    @property
    def node_kubeconfig(self) -> Path:
        """Return the kubelet's credentials."""
        return self.folder / "node.kubeconfig"

    @property
    def containerd_socket(self) -> Path:
        return self.folder / "containerd.sock"

    @property
    def containerd_state(self) -> Path:
        return self.folder / "run" / "containerd"

    @property
    def runc_state(self) -> Path:
        return self.folder / "run" / "runc"

    @property
    def volumes_folder(self) -> Path:
        """Return the folder whose sub-folders are the PersistentVolumes."""
        return self.folder / "volumes"

    @property
    def pod_network(self) -> str:
        """Return the name of the pods' network, which the CNI library keeps files under."""
        return f"{self.name}-pods"
