"""The part of a pod's specification that a laptop honours; the rest is refused by name.

What is accepted without effect stands here too, so that nothing is dropped in silence: on this
machine there is one user, one network and one kernel namespace.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from nexus_api.meta import Manifest
from nexus_local.node.errors import PodRefusedError

POD = frozenset(
    {
        "containers",
        "volumes",
        "restartPolicy",
        "terminationGracePeriodSeconds",
        "activeDeadlineSeconds",
    }
)
POD_WITHOUT_EFFECT = frozenset(
    {
        "affinity",
        "automountServiceAccountToken",
        "dnsPolicy",
        "enableServiceLinks",
        "imagePullSecrets",
        "nodeSelector",
        "preemptionPolicy",
        "priority",
        "priorityClassName",
        "runtimeClassName",
        "schedulerName",
        "securityContext",
        "serviceAccount",
        "serviceAccountName",
        "tolerations",
        "topologySpreadConstraints",
    }
)
CONTAINER = frozenset(
    {
        "name",
        "image",
        "command",
        "args",
        "env",
        "envFrom",
        "ports",
        "terminationMessagePolicy",
        "volumeMounts",
        "startupProbe",
        "readinessProbe",
        "livenessProbe",
    }
)
CONTAINER_WITHOUT_EFFECT = frozenset(
    {
        "imagePullPolicy",
        "resources",
        "securityContext",
        "terminationMessagePath",
    }
)
VOLUME = frozenset({"name", "emptyDir", "configMap", "secret", "persistentVolumeClaim"})
MOUNT = frozenset({"name", "mountPath"})
MOUNT_WITHOUT_EFFECT = frozenset({"readOnly"})
ENV = frozenset({"name", "value", "valueFrom"})
ENV_SOURCES = frozenset({"configMapKeyRef", "secretKeyRef", "fieldRef"})
ENV_FROM = frozenset({"configMapRef", "secretRef", "prefix"})
PROBE = frozenset(
    {
        "httpGet",
        "tcpSocket",
        "exec",
        "initialDelaySeconds",
        "periodSeconds",
        "timeoutSeconds",
        "successThreshold",
        "failureThreshold",
    }
)
HTTP_GET = frozenset({"path", "port", "scheme", "httpHeaders"})
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def check(spec: Manifest) -> None:
    """Raise PodRefusedError that names the first field which this machine does not offer."""
    for field in _refused(spec):
        raise PodRefusedError(
            "CreateContainerConfigError",
            f"{field} is not offered on the laptop; run this on a cluster or leave the field out",
        )
    if len(spec["containers"]) != 1:
        raise PodRefusedError(
            "CreateContainerConfigError",
            f"spec.containers has {len(spec['containers'])} entries; a pod on the laptop has one",
        )


def _refused(spec: Manifest) -> Iterator[str]:
    yield from _beyond("spec", spec, POD | POD_WITHOUT_EFFECT)
    for index, volume in enumerate(spec.get("volumes") or ()):
        yield from _beyond(f"spec.volumes[{index}]", volume, VOLUME)
    for index, container in enumerate(spec["containers"]):
        at = f"spec.containers[{index}]"
        yield from _beyond(at, container, CONTAINER | CONTAINER_WITHOUT_EFFECT)
        for number, mount in enumerate(container.get("volumeMounts") or ()):
            yield from _beyond(f"{at}.volumeMounts[{number}]", mount, MOUNT | MOUNT_WITHOUT_EFFECT)
        for number, item in enumerate(container.get("env") or ()):
            yield from _beyond(f"{at}.env[{number}]", item, ENV)
            source = item.get("valueFrom") or {}
            yield from _beyond(f"{at}.env[{number}].valueFrom", source, ENV_SOURCES)
        for number, item in enumerate(container.get("envFrom") or ()):
            yield from _beyond(f"{at}.envFrom[{number}]", item, ENV_FROM)
        for number, port in enumerate(container.get("ports") or ()):
            if port.get("protocol", "TCP") != "TCP":
                yield f"{at}.ports[{number}].protocol: {port['protocol']}"
        for name in _PROBES:
            yield from _probe(f"{at}.{name}", container.get(name) or {})


def _probe(at: str, probe: Mapping[str, Any]) -> Iterator[str]:
    yield from _beyond(at, probe, PROBE)
    http = probe.get("httpGet") or {}
    yield from _beyond(f"{at}.httpGet", http, HTTP_GET)
    if http.get("scheme", "HTTP") != "HTTP":
        yield f"{at}.httpGet.scheme: {http['scheme']}"
    yield from _beyond(f"{at}.tcpSocket", probe.get("tcpSocket") or {}, frozenset({"port"}))


def _beyond(at: str, value: Mapping[str, Any], known: frozenset[str]) -> Iterator[str]:
    for key, item in value.items():
        if key not in known and item not in (None, [], {}, False, ""):
            yield f"{at}.{key}"
