"""Every key of a Workflow that this engine knows; any other key is refused by its path.

USED means interpreted. INERT means accepted without effect on the laptop, because it says where or
under which rights a pod runs in a cluster, never what it does:

- of a Workflow's spec: serviceAccountName, automountServiceAccountToken, executor, nodeSelector,
  affinity, tolerations, imagePullSecrets, dnsPolicy, dnsConfig, schedulerName, podGC (logs and Pod
  objects go with their Workflow), podPriorityClassName, securityContext, podDisruptionBudget,
  metrics, volumeClaimGC, archiveLogs;
- of a template: serviceAccountName, automountServiceAccountToken, executor, nodeSelector, affinity,
  tolerations, schedulerName, priorityClassName, securityContext, metrics;
- of a retryStrategy: affinity; of a parameter: description, enum (the template's author checks);
- of a container: name, resources, securityContext, imagePullPolicy, terminationMessagePath.

podSpecPatch is accepted as long as the patch holds such keys only; one that is nothing but a
reference is looked at when it is filled in.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, TypeAlias

import yaml

from nexus_local.workflows.errors import InvalidWorkflow, Unsupported, WorkflowError
from nexus_local.workflows.substitution import TAG


class Mark(Enum):
    """What becomes of a key's value."""

    USED = "interpreted, whatever it holds"
    INERT = "accepted without effect"
    POD_PATCH = "a podSpecPatch, accepted when it holds inert keys only"


USED, INERT, POD_PATCH = Mark.USED, Mark.INERT, Mark.POD_PATCH
Keys: TypeAlias = "Mapping[str, Keys | list[Keys] | Mark]"


def inert(*names: str) -> dict[str, Mark]:
    """Return keys that are accepted without effect."""
    return dict.fromkeys(names, INERT)


def used(*names: str) -> dict[str, Mark]:
    """Return keys that are interpreted."""
    return dict.fromkeys(names, USED)


CONFIG_REF = used("name", "key", "optional")
ENV: Keys = {
    **used("name", "value"),
    "valueFrom": {
        "configMapKeyRef": CONFIG_REF,
        "secretKeyRef": CONFIG_REF,
        "fieldRef": used("fieldPath", "apiVersion"),
    },
}
ENV_FROM: Keys = {
    **used("prefix"),
    "configMapRef": used("name", "optional"),
    "secretRef": used("name", "optional"),
}
VOLUME: Keys = {
    **used("name"),
    "emptyDir": inert("sizeLimit", "medium"),
    "configMap": used("name", "items", "optional", "defaultMode"),
    "secret": used("secretName", "items", "optional", "defaultMode"),
    "persistentVolumeClaim": used("claimName", "readOnly"),
}
CONTAINER: Keys = {
    **used("image", "command", "args", "terminationMessagePolicy"),
    "env": [ENV],
    "envFrom": [ENV_FROM],
    "volumeMounts": [used("name", "mountPath", "readOnly")],
    **inert("name", "resources", "securityContext", "imagePullPolicy", "terminationMessagePath"),
}
PARAMETER: dict[str, Mark] = {**used("name", "value"), **inert("description", "enum")}
ARGUMENTS: Keys = {"parameters": [PARAMETER]}
RETRY: Keys = {
    **used("limit", "retryPolicy", "expression"),
    "backoff": used("duration", "factor", "maxDuration", "cap"),
    **inert("affinity"),
}
TASK: Keys = {
    **used("name", "template", "dependencies", "depends", "withItems", "withParam", "when"),
    "arguments": ARGUMENTS,
    "templateRef": used("name", "template", "clusterScope"),
}
TEMPLATE: Keys = {
    **used("name", "activeDeadlineSeconds", "parallelism"),
    "inputs": {"parameters": [{**PARAMETER, **used("default")}]},
    "outputs": {
        "parameters": [
            {
                **used("name"),
                **inert("description"),
                "valueFrom": used("path", "parameter", "default"),
            }
        ]
    },
    "container": CONTAINER,
    "dag": {**used("failFast", "target"), "tasks": [TASK]},
    "retryStrategy": RETRY,
    "metadata": used("labels", "annotations"),
    "volumes": [VOLUME],
    **inert("serviceAccountName", "automountServiceAccountToken", "executor", "nodeSelector"),
    **inert("affinity", "tolerations", "schedulerName", "priorityClassName", "securityContext"),
    **inert("metrics"),
    "podSpecPatch": POD_PATCH,
}
SPEC: Keys = {
    **used("entrypoint", "onExit", "parallelism", "activeDeadlineSeconds", "priority"),
    **used("shutdown", "suspend"),
    "arguments": ARGUMENTS,
    "templates": [TEMPLATE],
    "retryStrategy": RETRY,
    "volumes": [VOLUME],
    "podMetadata": used("labels", "annotations"),
    "synchronization": {
        "mutexes": [used("name", "namespace")],
        "mutex": used("name", "namespace"),
    },
    "ttlStrategy": used("secondsAfterCompletion", "secondsAfterSuccess", "secondsAfterFailure"),
    "workflowTemplateRef": used("name", "clusterScope"),
    **inert("serviceAccountName", "automountServiceAccountToken", "executor", "nodeSelector"),
    **inert("affinity", "tolerations", "imagePullSecrets", "dnsPolicy", "dnsConfig"),
    **inert("schedulerName", "podGC", "podPriorityClassName", "securityContext"),
    **inert("podDisruptionBudget", "metrics", "volumeClaimGC", "archiveLogs"),
    "podSpecPatch": POD_PATCH,
}
POD_SPEC_PATCH: Keys = {
    **inert("serviceAccountName", "automountServiceAccountToken", "nodeSelector", "affinity"),
    **inert("tolerations", "imagePullSecrets", "dnsPolicy", "dnsConfig", "schedulerName"),
    **inert("priorityClassName", "securityContext", "runtimeClassName", "enableServiceLinks"),
    **inert("terminationGracePeriodSeconds", "topologySpreadConstraints"),
    "containers": [inert("name", "resources", "securityContext", "imagePullPolicy")],
    "initContainers": [inert("name", "resources", "securityContext", "imagePullPolicy")],
    "volumes": [{**inert("name"), "emptyDir": inert("sizeLimit", "medium")}],
}


def check_keys(value: Any, keys: Keys, path: str) -> Iterator[WorkflowError]:
    """Yield an error for every key of `value` that `keys` does not list, and for wrong shapes."""
    if not isinstance(value, Mapping):
        yield InvalidWorkflow(path, f"must be a map, not {type(value).__name__}")
        return
    for key, inner in value.items():
        below = f"{path}.{key}"
        expected = keys.get(key)
        if expected is None:
            yield Unsupported(below)
        elif inner is None or isinstance(expected, Mark):
            if expected is POD_PATCH and inner:
                yield from check_patch(inner, below)
        elif not isinstance(expected, list):
            yield from check_keys(inner, expected, below)
        elif not isinstance(inner, list):
            yield InvalidWorkflow(below, f"must be a list, not {type(inner).__name__}")
        else:
            for number, entry in enumerate(inner):
                yield from check_keys(entry, expected[0], f"{below}[{number}]")


def check_patch(text: Any, path: str) -> Iterator[WorkflowError]:
    """Yield an error for every key of a podSpecPatch that would change what a pod does."""
    if isinstance(text, str) and TAG.fullmatch(text):
        return
    try:
        patch = yaml.safe_load(text)
    except (yaml.YAMLError, AttributeError) as error:
        yield InvalidWorkflow(path, f"is not YAML: {error}")
        return
    if patch is not None:
        yield from check_keys(patch, POD_SPEC_PATCH, path)
