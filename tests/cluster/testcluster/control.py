"""Starts the control plane of a cluster: etcd, API server, controllers, scheduler."""

from testcluster import api, commands, daemons, render
from testcluster.binaries import binary
from testcluster.certificates import Authority, signing_key, write_secret
from testcluster.config import ClusterConfig


def prepare(config: ClusterConfig) -> None:
    """Write the credentials of every part."""
    config.pki.mkdir(mode=0o700)
    authority = Authority.new("test-cluster")
    authority.pair.write(config.pki, "ca")
    service = "kubernetes.default.svc"
    names = ("localhost", "kubernetes", "kubernetes.default", service, f"{service}.cluster.local")
    addresses = ("127.0.0.1", str(config.api_service), str(config.node.ip))
    node = f"system:node:{config.node_name}"
    for name, pair in {
        "apiserver": authority.sign("kube-apiserver", hosts=(*names, *addresses)),
        "admin": authority.sign("admin", groups=("system:masters",)),
        "node": authority.sign(
            node, groups=("system:nodes",), hosts=(config.node_name, str(config.node.ip))
        ),
    }.items():
        pair.write(config.pki, name)
    private, public = signing_key()
    write_secret(config.pki / "service-account.key", private)
    (config.pki / "service-account.pub").write_bytes(public)
    config.admin_kubeconfig.write_text(render.kubeconfig(config, "admin"))
    config.node_kubeconfig.write_text(render.kubeconfig(config, "node"))


def start(config: ClusterConfig, lock: int) -> None:
    """Start the control plane and wait until the API server is ready; etcd keeps the lock open."""
    kube = binary("kube")
    etcd = commands.etcd(config, binary("etcd"))
    daemons.start(config, "etcd", etcd, keep_open=(lock,))
    daemons.start(config, "kube-apiserver", commands.api_server(config, kube))
    daemons.wait_until(config, "API server ready", lambda: api.is_ready(config))
    daemons.start(config, "kube-controller-manager", commands.controller_manager(config, kube))
    daemons.start(config, "kube-scheduler", commands.scheduler(config, kube))
