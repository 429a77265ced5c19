"""What every cluster of tests has above a bare node: DNS, and if wanted Argo, NATS and MinIO."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml

from testcluster import commands, daemons, node, render
from testcluster.binaries import binary
from testcluster.certificates import Authority
from testcluster.config import ClusterConfig
from testcluster.definitions import PROJECTS, definition_names, definitions
from testcluster.programs import Name
from testcluster.static_images import STATIC_IMAGES, static_image

TEST_SERVICES = "test-services"

_MANIFESTS = Path(__file__).parents[1] / "manifests"
_PATIENCE_SECONDS = 300  # a machine may be busy with other tests


class Applier(Protocol):
    """The cluster, as far as it is needed here."""

    @property
    def config(self) -> ClusterConfig: ...
    def apply(self, *objects: Mapping[str, Any]) -> None: ...
    def kubectl(self, *arguments: str, text: str | None = None) -> str: ...


def image_names(config: ClusterConfig) -> list[str]:
    """Return the images that a cluster of this configuration needs."""
    names = ["coredns"]
    if config.argo:
        names += ["argoexec", "argo-events"]
    if config.test_services:
        names += ["nats", "minio"]
    return names


def program_names(config: ClusterConfig) -> list[Name]:
    """Return the programs that a cluster of this configuration runs, in or outside of images."""
    names: list[Name] = ["kube", "etcd", "pod", "helm"]
    names += [STATIC_IMAGES[name].program for name in image_names(config)]
    if config.argo:
        names.append("workflow-controller")
    return names


def build(config: ClusterConfig) -> None:
    """Make everything that a cluster needs.  Raises BinaryMissing."""
    for program in program_names(config):
        binary(program)
    for name in image_names(config):
        static_image(name)
    if config.argo:
        for project in PROJECTS:
            definitions(project)


def load_images(config: ClusterConfig) -> None:
    """Give the node its images; each is asked for when a pod needs it."""
    for name in image_names(config):
        node.load_image(config, static_image(name))


def define(cluster: Applier) -> None:
    """Apply the definitions of Argo's kinds, which keep the API server busy for a while."""
    if cluster.config.argo:
        files = [f"--filename={definitions(project)}" for project in PROJECTS]
        cluster.kubectl("apply", "--server-side", "--validate=false", *files)


def apply(cluster: Applier) -> None:
    """Apply the objects; `wait` waits for what becomes of them."""
    cluster.apply(*_name_server(cluster.config))
    if cluster.config.test_services:
        cluster.apply(*_test_services(), *_manifest("test-services"))
    if cluster.config.argo:
        cluster.apply(*_manifest("argo-workflows"), *_manifest("argo-events"))


def wait(cluster: Applier) -> None:
    """Wait until everything answers.  Raises ClusterFailed."""
    if cluster.config.argo:
        kinds = [f"crd/{name}" for project in PROJECTS for name in definition_names(project)]
        cluster.kubectl(
            "wait", "--for=condition=Established", f"--timeout={_PATIENCE_SECONDS}s", *kinds
        )
        _start_workflow_controller(cluster.config)
    for namespace in _namespaces(cluster.config):
        cluster.kubectl(
            "wait",
            "--for=condition=Available",
            f"--timeout={_PATIENCE_SECONDS}s",
            f"--namespace={namespace}",
            "deployments",
            "--all",
        )


def _start_workflow_controller(config: ClusterConfig) -> None:
    credentials = yaml.safe_load(render.kubeconfig(config, "admin"))
    credentials["contexts"][0]["context"]["namespace"] = "argo"
    (config.folder / "argo.kubeconfig").write_text(render.as_yaml(credentials))
    program = binary("workflow-controller")
    daemons.start(
        config,
        "workflow-controller",
        commands.workflow_controller(config, program, "local/argoexec:test"),
        environment={
            "LEADER_ELECTION_DISABLE": "true",
            "LEADER_ELECTION_IDENTITY": config.node_name,
            # By default a finished step is looked at after ten seconds.
            "DEFAULT_REQUEUE_TIME": "1s",
        },
    )


def _namespaces(config: ClusterConfig) -> list[str]:
    wanted = {"argo-events": config.argo, TEST_SERVICES: config.test_services}
    return ["kube-system", *(name for name, chosen in wanted.items() if chosen)]


def _name_server(config: ClusterConfig) -> list[dict[str, Any]]:
    objects = _manifest("coredns")
    for one in objects:
        if one["kind"] == "Service":
            one["spec"]["clusterIP"] = str(config.dns)
    return objects


def _test_services() -> list[dict[str, Any]]:
    """Return the namespace of NATS and MinIO, and secrets that are new for each cluster."""
    authority = Authority.new("nats")
    host = f"nats.{TEST_SERVICES}.svc"
    pair = authority.sign("nats", hosts=("nats", host, f"{host}.cluster.local"))
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEST_SERVICES}},
        _secret(
            "nats-tls",
            {
                "tls.crt": pair.certificate.decode(),
                "tls.key": pair.key.decode(),
                "ca.crt": authority.pair.certificate.decode(),
            },
        ),
        _secret(
            "minio",
            {"access-key": secrets.token_hex(8), "secret-key": secrets.token_urlsafe(24)},
        ),
    ]


def _secret(name: str, content: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": TEST_SERVICES},
        "stringData": content,
    }


def _manifest(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((_MANIFESTS / f"{name}.yaml").read_text(encoding="utf-8")))
