"""The cases on Argo Workflows: a namespace of their own, in which they all run at once."""

import json
import time
from typing import Any

from testcluster.cluster import Cluster

from .cases import NAMESPACE, Case
from .on_laptop import config_map

Manifest = dict[str, Any]
_SECONDS = 1200
_CLAIMS = ("state", "nexus-models")


def surroundings() -> list[Manifest]:
    """Return the namespace, the volumes and the rights that steps have on a platform."""
    place = {"namespace": NAMESPACE}
    rules = [
        {
            "apiGroups": ["argoproj.io"],
            "resources": ["workflowtaskresults"],
            "verbs": ["create", "patch"],
        }
    ]
    account = {"kind": "ServiceAccount", "name": "nexus-pipelines", **place}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "steps"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": NAMESPACE,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": account["name"], **place},
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "steps", **place},
            "rules": rules,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "steps", **place},
            "roleRef": role,
            "subjects": [account],
        },
        *(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, **place},
                "spec": {
                    "accessModes": ["ReadWriteMany"],
                    "resources": {"requests": {"storage": "1Gi"}},
                },
            }
            for name in _CLAIMS
        ),
    ]


def run(cluster: Cluster, cases: list[Case], templates: list[Manifest]) -> dict[str, Manifest]:
    """Return each case's finished Workflow."""
    cluster.apply(*surroundings(), config_map(cases), *templates)
    cluster.apply(*(case.manifest() for case in cases))
    names = {case.name for case in cases}
    end = time.monotonic() + _SECONDS
    done: dict[str, Manifest] = {}
    while done.keys() != names:
        found = cluster.get("workflows", "-n", NAMESPACE)["items"]
        done = {
            one["metadata"]["name"]: one
            for one in found
            if (one.get("status") or {}).get("finishedAt") and one["metadata"]["name"] in names
        }
        if time.monotonic() > end:
            waiting = {
                one["metadata"]["name"]: (one.get("status") or {}).get("message", "no status")
                for one in found
                if one["metadata"]["name"] not in done
            }
            raise AssertionError(f"not finished in {_SECONDS} s: {json.dumps(waiting)}")
        time.sleep(1)
    return done


def clear(cluster: Cluster) -> None:
    """Take the namespace away again."""
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false", "--ignore-not-found")
