"""A judge on the test cluster: a pod of the tenant's with fixed opinions."""

from pathlib import Path

import scripted_judge

from .site import PLATFORM, TENANT, Manifest, Site

NAME = "judge"
MISJUDGED = "misjudged"
_PORT = 8000
URL = f"http://{NAME}.{TENANT}:{_PORT}/v1"
VARIABLES = {"NEXUS_JUDGE_URL": URL, "NEXUS_JUDGE_MODEL": "oracle"}
"""What the platform's `extra` variables are with an administrator who names it."""


def misjudged(job: Manifest, golden_set: str) -> Manifest:
    """Return a job of another name, judged by a golden set of its own, that trains a little.

    A person promotes: the model that serves names the champion of another job.
    """
    lora = {**job["spec"]["lora"], "epochs": 1}
    evaluation = {**job["spec"]["evaluation"], "goldenSet": golden_set}
    metadata = {**job["metadata"], "name": MISJUDGED}
    promotion = {**job["spec"]["promotion"], "mode": "Manual"}
    spec = {**job["spec"], "lora": lora, "evaluation": evaluation, "promotion": promotion}
    return {**job, "metadata": metadata, "spec": spec}


def riddles(golden: list[Manifest]) -> list[Manifest]:
    """Return a golden set that the judge cannot judge."""
    asked = scripted_judge.RIDDLE
    return [{**item, "question": f"{item['question']} A {asked}."} for item in golden]


def judge(site: Site) -> list[Manifest]:
    """Return the pod, with what it runs and the name that it is known by.

    Its image is one that the node has, for its Python.
    """
    gateway = site.get("deployment", "nexus-gateway", PLATFORM)["spec"]["template"]["spec"]
    program = Path(scripted_judge.__file__)
    container = {
        "name": NAME,
        "image": gateway["containers"][0]["image"],
        "command": ["python", f"/program/{program.name}", str(_PORT)],
        "ports": [{"containerPort": _PORT}],
        "readinessProbe": {"tcpSocket": {"port": _PORT}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "program", "mountPath": "/program"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "program", "configMap": {"name": NAME}}],
    }
    named = {"name": NAME, "namespace": TENANT}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": named,
            "data": {program.name: program.read_text()},
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**named, "labels": {"app": NAME}},
            "spec": pod,
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": named,
            "spec": {"selector": {"app": NAME}, "ports": [{"port": _PORT}]},
        },
    ]
