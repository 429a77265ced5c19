"""What a cluster tells of itself, for the report of a test that failed."""

import json
from collections.abc import Iterator

from testcluster.cluster import Cluster

_SECONDS = 60
_LINES = 30  # of each log
_OWN = ("argo", "argo-events", "kube-node-lease", "kube-public", "kube-system")


def account(cluster: Cluster) -> str:
    """Return pods, warnings and the last lines of a test's pods; nothing where none runs."""
    if not cluster.is_up():
        return ""
    parts = [
        _said(cluster, "get", "pods", "--all-namespaces", "--output=wide"),
        _said(
            cluster,
            *("get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"),
            "--field-selector=type!=Normal",
        ),
        *_logs(cluster),
    ]
    return "\n\n".join(parts)


def _logs(cluster: Cluster) -> Iterator[str]:
    try:
        pods = json.loads(_said(cluster, "get", "pods", "--all-namespaces", "--output=json"))
    except json.JSONDecodeError:  # the table above says why
        return
    for pod in pods["items"]:
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        if namespace not in _OWN:
            logs = ("logs", "-n", namespace, name, "--all-containers", f"--tail={_LINES}")
            yield f"{namespace}/{name}:\n{_said(cluster, *logs)}"


def _said(cluster: Cluster, *words: str) -> str:
    command = ["kubectl", f"--request-timeout={_SECONDS}s", *words]
    try:
        done = cluster.run(command, check=False, seconds=2 * _SECONDS)
    except Exception as error:  # noqa: BLE001 - the report of the failure itself comes first
        return repr(error)
    return done.stdout if done.returncode == 0 else done.stderr
