"""The command line of each process of a cluster, as pure functions of its configuration."""

from ipaddress import IPv4Network
from pathlib import Path

from testcluster.config import API_PORT, ClusterConfig

_ETCD = "http://127.0.0.1:2379"


def etcd(config: ClusterConfig, program: Path) -> list[str]:
    """Return etcd's command; what it stores need not outlive a power cut."""
    return [
        str(program),
        f"--data-dir={config.folder}/etcd",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server(config: ClusterConfig, kube: Path) -> list[str]:
    """Return kube-apiserver's command."""
    audit: tuple[str, ...] = ()
    if config.audit_policy is not None:
        audit = (
            f"--audit-policy-file={config.audit_policy.resolve()}",
            f"--audit-log-path={config.audit_log}",
        )
    return [
        str(kube),
        "kube-apiserver",
        f"--etcd-servers={_ETCD}",
        f"--secure-port={API_PORT}",
        # Pods reach it through a Service, whose endpoint this is: never loopback.
        f"--advertise-address={config.node.ip}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--client-ca-file={config.pki}/ca.crt",
        f"--tls-cert-file={config.pki}/apiserver.crt",
        f"--tls-private-key-file={config.pki}/apiserver.key",
        f"--service-account-key-file={config.pki}/service-account.pub",
        f"--service-account-signing-key-file={config.pki}/service-account.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-cluster-ip-range={config.services}",
        "--authorization-mode=Node,RBAC",
        f"--kubelet-client-certificate={config.pki}/admin.crt",
        f"--kubelet-client-key={config.pki}/admin.key",
        f"--kubelet-certificate-authority={config.pki}/ca.crt",
        *audit,
        *config.api_server_flags,
    ]


def controller_manager(config: ClusterConfig, kube: Path) -> list[str]:
    """Return kube-controller-manager's command."""
    return [
        str(kube),
        "kube-controller-manager",
        f"--kubeconfig={config.admin_kubeconfig}",
        f"--service-account-private-key-file={config.pki}/service-account.key",
        f"--root-ca-file={config.pki}/ca.crt",
        f"--cluster-signing-cert-file={config.pki}/ca.crt",
        f"--cluster-signing-key-file={config.pki}/ca.key",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={_wider(config.pods)}",
        *config.controller_manager_flags,
    ]


def scheduler(config: ClusterConfig, kube: Path) -> list[str]:
    """Return kube-scheduler's command."""
    return [
        str(kube),
        "kube-scheduler",
        f"--kubeconfig={config.admin_kubeconfig}",
        "--leader-elect=false",
    ]


def containerd(config: ClusterConfig) -> list[str]:
    """Return containerd's command."""
    return ["containerd", f"--config={config.folder}/containerd.toml"]


def kubelet(config: ClusterConfig, kube: Path) -> list[str]:
    """Return the kubelet's command."""
    return [
        str(kube),
        "kubelet",
        f"--config={config.folder}/kubelet.yaml",
        f"--kubeconfig={config.node_kubeconfig}",
        f"--hostname-override={config.node_name}",
        f"--node-ip={config.node.ip}",
        f"--root-dir={config.folder}/kubelet",
        f"--cert-dir={config.folder}/kubelet/pki",
        *config.kubelet_flags,
    ]


def kube_proxy(config: ClusterConfig, kube: Path) -> list[str]:
    """Return kube-proxy's command; it leaves the sizes of the host's connection table alone."""
    return [
        str(kube),
        "kube-proxy",
        f"--kubeconfig={config.admin_kubeconfig}",
        f"--hostname-override={config.node_name}",
        "--proxy-mode=iptables",
        f"--cluster-cidr={_wider(config.pods)}",
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
    ]


def workflow_controller(config: ClusterConfig, program: Path, executor: str) -> list[str]:
    """Return the command of Argo's workflow controller, which serves every namespace."""
    return [
        str(program),
        f"--kubeconfig={config.folder}/argo.kubeconfig",
        "--configmap=workflow-controller-configmap",
        f"--executor-image={executor}",
        "--executor-image-pull-policy=IfNotPresent",
    ]


def _wider(pods: IPv4Network) -> IPv4Network:
    """Return the range that the ranges of all nodes are cut from."""
    return pods.supernet(new_prefix=16)
