"""The test cluster itself: pods, names, volumes, workflows, events; and that it leaves nothing.

These tests have a cluster of their own, which is gone before the other files of this folder start.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from needs import lacking
from testcluster import cgroups, daemons, leftovers, lock
from testcluster.binaries import BinaryMissing
from testcluster.cluster import Cluster
from testcluster.config import ClusterConfig
from testcluster.errors import ClusterFailed, ClusterUnavailable
from testcluster.identity import began
from waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

POLICY = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n"


@dataclass(frozen=True)
class Host:
    """What a cluster must not change."""

    links: str
    rules: str
    kernel: tuple[str, ...]
    folders: tuple[bool, ...]

    @classmethod
    def now(cls) -> "Host":
        settings = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")
        folders = ("/run/netns", "/run/containerd", "/var/lib/cni", "/var/lib/kubelet")
        return cls(
            links=_said(["ip", "-oneline", "link", "show"]),
            rules=_said(["iptables-save"]),
            kernel=tuple((Path("/proc/sys") / name).read_text() for name in settings),
            folders=tuple(Path(folder).exists() for folder in folders),
        )


@pytest.fixture(scope="module")
def before() -> Host:
    """The host while no cluster runs."""
    if os.environ.get("NEXUS_TEST_CLUSTER") == "running":
        pytest.skip("a cluster that is to be kept runs here, and one is all that a machine has")
    held = lock.acquire(patience=1800)
    try:
        with lock.cleaning():
            leftovers.remove_all(ClusterConfig())  # of one that crashed
            return Host.now()
    finally:
        os.close(held)


@pytest.fixture(scope="module")
def own(before: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of this file alone, with its services and an audit log."""
    policy = tmp_path_factory.mktemp("audit") / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    cluster = Cluster(ClusterConfig(audit_policy=policy))
    try:
        cluster.up()
    except (BinaryMissing, ClusterUnavailable) as error:
        lacking(error)
    yield cluster
    cluster.down()


def test_restricted_pod_runs_and_reaches_a_service_by_name(own: Cluster) -> None:
    own.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": "careful",
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        },
        _pod("server", ["serve", ":8080"], labels={"app": "server"}),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "server", "namespace": "careful"},
            "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    )
    own.kubectl("wait", "-n", "careful", "pod/server", "--for=condition=Ready", "--timeout=180s")
    own.apply(_pod("client", ["get", "http://server.careful.svc/hello"]))
    ended = _ended(own, "client")
    assert (ended.phase, ended.said) == ("Succeeded", "/hello\n")
    address = own.get("service", "server", "-n", "careful")["spec"]["clusterIP"]
    with own.joined():
        answer = httpx.get(f"http://{address}/from-here", trust_env=False, timeout=30)
    assert answer.text == "/from-here\n"


def test_pod_that_breaks_the_namespaces_policy_is_refused(own: Cluster) -> None:
    pod = _pod("bold", ["pause"])
    pod["spec"]["hostNetwork"] = True
    with pytest.raises(ClusterFailed, match=r"violates PodSecurity .*restricted"):
        own.apply(pod)


def test_name_outside_of_the_cluster_is_unknown_and_not_waited_for(own: Cluster) -> None:
    own.apply(_pod("outside", ["lookup", "registry.example.org"]))
    ended = _ended(own, "outside")
    assert ended.phase == "Failed"
    assert "no such host" in ended.said
    assert "timeout" not in ended.said


def test_claims_are_bound_and_written_by_pods_that_are_not_root(own: Cluster) -> None:
    claims = own.get("pvc", "-n", "test-services")["items"]
    assert {claim["status"]["phase"] for claim in claims} == {"Bound"}
    minio = next(claim for claim in claims if claim["metadata"]["name"] == "minio")
    folder = own.config.volumes_folder / minio["spec"]["volumeName"]
    assert folder.stat().st_mode & 0o777 == 0o777
    assert {path.stat().st_uid for path in folder.iterdir()} == {65532}


def test_workflow_of_two_steps_succeeds(own: Cluster) -> None:
    own.apply(
        *_role("default", "argoproj.io", "workflowtaskresults", ["create", "patch"]),
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": "two-steps", "namespace": "default"},
            "spec": {
                "entrypoint": "both",
                "templates": [
                    {
                        "name": "both",
                        "dag": {
                            "tasks": [
                                {"name": "first", "template": "step"},
                                {"name": "second", "template": "step", "depends": "first"},
                            ]
                        },
                    },
                    {
                        "name": "step",
                        "container": {
                            "image": "local/argoexec:test",
                            "command": ["/bin/argoexec", "version"],
                        },
                    },
                ],
            },
        },
    )
    own.kubectl(
        "wait", "workflow/two-steps", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=300s"
    )
    nodes = own.get("workflow", "two-steps")["status"]["nodes"].values()
    phases = {node["displayName"]: node["phase"] for node in nodes}
    assert phases == {"two-steps": "Succeeded", "first": "Succeeded", "second": "Succeeded"}


def test_event_reaches_an_object_through_the_bus(own: Cluster) -> None:
    own.apply(
        *_role("default", "", "configmaps", ["get", "patch"]),
        *_event_objects(),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _named("target")},
    )
    for part in ("eventsource-name=hook", "sensor-name=hook"):
        ready = ("wait", "pods", "-l", part, "--for=condition=Ready", "--timeout=300s")
        # Asked anew: there is none yet, or Argo Events has put another in its place.
        eventually(
            lambda ready=ready: own.kubectl(*ready),
            what=f"a pod with {part}",
            despite=(ClusterFailed,),
        )
    service = eventually(
        lambda: own.get("service", "hook-eventsource-svc"),
        what="the Service of the webhook",
        despite=(ClusterFailed,),
    )
    address = service["spec"]["clusterIP"]

    def delivered() -> bool:
        # Sent anew until it arrives: either pod is ready before it listens or has subscribed.
        with own.joined():
            httpx.post(f"http://{address}:12000/put", json={"key": "a.pdf"}, trust_env=False)
        return bool(own.get("configmap", "target").get("data") == {"key": "a.pdf"})

    eventually(
        delivered, what="the event in the object", pause=1.0, despite=(httpx.TransportError,)
    )


def test_audit_log_names_who_asked_for_what(own: Cluster) -> None:
    log = own.config.audit_log.read_text(encoding="utf-8")
    assert '"objectRef":{"resource":"workflows","namespace":"default","name":"two-steps"' in log


def test_after_a_crash_nothing_is_left(own: Cluster, before: Host) -> None:
    processes = _processes(own)
    assert len(processes) > 10
    running = daemons.running(own.config)
    with lock.cleaning():  # nobody else starts before it is looked at what is left
        for name in ("etcd", "kubelet", "containerd"):
            os.kill(running[name], signal.SIGKILL)
        leftovers.remove_all(own.config)
        assert leftovers.found(own.config) == []
        assert Host.now() == before

    # Shims and pods have no parent any more, and are taken note of by whoever adopts orphans.
    def gone() -> bool:
        left = [pid for pid, when in processes.items() if began(pid) == when]
        assert not left, left
        return True

    eventually(gone, what="no process", despite=(AssertionError,))


def _pod(name: str, arguments: list[str], labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "careful", "labels": labels or {}},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": name,
                    "image": "local/pod:test",
                    "args": arguments,
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }


def _named(name: str) -> dict[str, str]:
    return {"name": name, "namespace": "default"}


def _role(account: str, group: str, resource: str, verbs: list[str]) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": _named(resource),
            "rules": [{"apiGroups": [group], "resources": [resource], "verbs": verbs}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": _named(resource),
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": resource,
            },
            "subjects": [{"kind": "ServiceAccount", **_named(account)}],
        },
    ]


def _event_objects() -> list[dict[str, Any]]:
    """A bus on the cluster's NATS, a webhook, and a Sensor that writes into a ConfigMap."""
    target = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _named("target")}
    bus = {
        "url": "nats://nats.test-services.svc:4222",
        "streamConfig": "maxMsgs: 1000\nmaxAge: 1h\nmaxBytes: -1\nreplicas: 1\nduplicates: 300s\n",
    }
    hook = {"put": {"port": "12000", "endpoint": "/put", "method": "POST"}}
    trigger = {
        "template": {
            "name": "write",
            "k8s": {
                "operation": "patch",
                "patchStrategy": "application/merge-patch+json",
                "source": {"resource": target},
                "parameters": [
                    {"src": {"dependencyName": "put", "dataKey": "body.key"}, "dest": "data.key"}
                ],
            },
        }
    }
    specs: dict[str, tuple[str, dict[str, Any]]] = {
        "EventBus": ("default", {"jetstreamExotic": bus}),
        "EventSource": (
            "hook",
            {"service": {"ports": [{"port": 12000, "targetPort": 12000}]}, "webhook": hook},
        ),
        "Sensor": (
            "hook",
            {
                "template": {"serviceAccountName": "default"},
                "dependencies": [{"name": "put", "eventSourceName": "hook", "eventName": "put"}],
                "triggers": [trigger],
            },
        ),
    }
    return [
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": kind,
            "metadata": _named(name),
            "spec": spec,
        }
        for kind, (name, spec) in specs.items()
    ]


@dataclass(frozen=True)
class _Ended:
    """What became of a pod of one container, in whole seconds."""

    phase: str
    said: str


def _ended(cluster: Cluster, pod: str) -> _Ended:
    """Return how a pod ended, well or not: a failed test then shows what its program said."""

    def over() -> dict[str, Any]:
        status: dict[str, Any] = cluster.get("pod", pod, "-n", "careful")["status"]
        return status if status["phase"] in {"Succeeded", "Failed"} else {}

    status = eventually(over, what=f"the end of the pod {pod}", pause=0.5)
    return _Ended(status["phase"], cluster.kubectl("logs", "-n", "careful", pod))


def _processes(cluster: Cluster) -> dict[int, str]:
    """Return when each process of the cluster began, by its number."""
    found = {pid: began(pid) for pid in cgroups.pids(cluster.config.name)}
    # A number that was given to a stranger since it was read is the cluster's no more.
    still = cgroups.pids(cluster.config.name)
    return {pid: when for pid, when in found.items() if when and pid in still}


def _said(command: list[str]) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20)
    # Comments have the time, counters what passed.
    lines = (line for line in done.stdout.splitlines() if not line.startswith("#"))
    return "\n".join(re.sub(r" \[\d+:\d+\]$", "", line) for line in lines)
