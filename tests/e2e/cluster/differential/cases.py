"""The cases of the comparison: our own templates with scripted steps, and DAGs of every feature."""

import copy
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
ROOT = Path(__file__).parents[4]
NAMESPACE = "differential"
COMMAND = "nexus-pipelines"
IMAGES = {"image", "trainer", "evaluator"}
RESULTS = ("", ".Succeeded", ".Failed", ".Skipped", ".Omitted", ".Errored")


@dataclass
class Case:
    """One Workflow and what its steps do, by key, one entry for each attempt."""

    name: str
    spec: Manifest
    script: dict[str, list[Manifest]] = field(default_factory=dict)

    def manifest(self) -> Manifest:
        """Return the Workflow."""
        return {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": self.name, "namespace": NAMESPACE},
            "spec": self.spec,
        }


def templates(image: str) -> list[Manifest]:
    """Return the templates of argo/ with shared state for the scripted steps, else as they are."""
    found = []
    for file in sorted((ROOT / "argo").glob("*.yaml")):
        for template in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            template["metadata"]["namespace"] = NAMESPACE
            parameters = template["spec"]["arguments"]["parameters"]
            for one in parameters:
                if one["name"] in IMAGES:
                    one["value"] = image
            _share_state(template["spec"])
            found.append(template)
    return found


def _share_state(spec: Manifest) -> None:
    volumes = spec.setdefault("volumes", [])
    volumes.append({"name": "state", "persistentVolumeClaim": {"claimName": "state"}})
    for template in spec["templates"]:
        container = template.get("container")
        if container is None:
            continue
        # Lists of their own: an anchor gives several steps the same one.
        state = {"name": "state", "mountPath": "/state"}
        container["volumeMounts"] = [*container.get("volumeMounts", ()), state]
        container["env"] = [*container.get("env", ()), {"name": "STATE", "value": "/state"}]


def sync_cases() -> list[Case]:
    """Return runs of nexus-sync and nexus-teardown: good, empty, retried, failed for good."""
    two = [{"key": "a", "count": 1}, {"key": "b", "count": 2}]
    report = {"write": {"--report-out": '{"chunks": 3}'}}

    def plan(shards: list[Manifest]) -> Manifest:
        count = str(len(shards))
        return {"write": {"--shards-out": json.dumps(shards), "--count-out": count}}

    scripts: dict[str, dict[str, list[Manifest]]] = {
        "sync-good": {"sync-plan": [plan(two)], "publish": [report]},
        "sync-nothing-new": {"sync-plan": [plan([])], "publish": [report]},
        "sync-transient": {
            "sync-plan": [{"exit": 75}, plan(two)],
            "a": [{"exit": 75}, {"exit": 75}, {}],
            "publish": [{"exit": 75}, report],
        },
        "sync-one-shard-lost": {
            "sync-plan": [plan(two)],
            "b": [{"exit": 1}],
            "publish": [report],
        },
        "sync-shard-never-recovers": {
            "sync-plan": [plan(two)],
            "a": [{"exit": 75}],
            "publish": [report],
        },
        "sync-plan-fails": {"sync-plan": [{"exit": 1}], "publish": [report]},
        "sync-publish-fails": {"sync-plan": [plan(two)], "publish": [{"exit": 2}]},
        "sync-no-output": {"sync-plan": [{}], "publish": [report]},
    }
    parameters = {"namespace": "team", "index": "i", "uid": "u", "settings": "{}"}
    cases = [
        _from_template(name, "nexus-sync", {**parameters, "fingerprint": "f"}, script)
        for name, script in scripts.items()
    ]
    for name, exits in {
        "teardown-good": [0],
        "teardown-later": [75, 0],
        "teardown-no": [1],
    }.items():
        played = {"teardown": [{"exit": code} for code in exits]}
        settings = {key: parameters[key] for key in ("namespace", "index", "uid")}
        cases.append(
            _from_template(name, "nexus-teardown", {**settings, "policy": "Delete"}, played)
        )
    return cases


def job_cases() -> list[Case]:
    """Return runs of what a job has beside its runs: good, retried, failed for good."""
    counted = {"write": {"--new-data-out": '{"examples": 3}'}}
    moved = {"write": {"--release-out": '{"champion": "2"}'}}
    job = {"namespace": "team", "job": "j", "uid": "u", "settings": "{}"}
    count, release = {**job, "number": "1"}, {**job, "by": "Ada", "version": "2"}
    scripts: dict[str, list[Manifest]] = {
        "count-good": [counted],
        "count-later": [{"exit": 75}, {"exit": 137}, counted],
        "count-no": [{"exit": 1}],
        "count-no-output": [{}],
    }
    cases = [
        _from_template(name, "nexus-count", count, {"finetune-count": script})
        for name, script in scripts.items()
    ]
    for action, step, script in (
        ("release", "finetune-release", [moved]),
        ("rollback", "finetune-rollback", [{"exit": 75}, moved]),
        ("recover", "finetune-champion", [{"exit": 1}]),
    ):
        told = {**release, "action": action}
        cases.append(_from_template(f"move-{action}", "nexus-release", told, {step: script}))
    ended = {key: job[key] for key in ("namespace", "job", "uid")}
    for name, script in (
        ("job-teardown-later", [{"exit": 75}, {"exit": 137}, {}]),
        ("job-teardown-no", [{"exit": 1}]),
    ):
        steps = {"finetune-teardown": script}
        cases.append(_from_template(name, "nexus-finetune-teardown", ended, steps))
    return cases


def tuning_cases() -> list[Case]:
    """Return runs of nexus-finetune: good, ended by a gate on the data, retried, without output."""
    job = {"namespace": "team", "job": "j", "uid": "u", "settings": "{}"}
    # As a profile does; what the template asks for at least would make runs wait for one another.
    small = {"name": "main", "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}}}
    told = {
        **job,
        **dict.fromkeys(("trainPod", "evaluatePod"), json.dumps({"containers": [small]})),
    }
    good: dict[str, list[Manifest]] = {
        "finetune-select": [{"write": {"--selection-out": '{"examples": 9}'}}],
        "finetune-validate": [{"write": {"--report-out": '{"passed": true}'}}],
        "finetune-train": [{"write": {"--training-out": '{"loss": 1.5}'}}],
        "finetune-evaluate": [{"write": {"--evaluation-out": '{"items": 122}'}}],
        "finetune-gate": [{"write": {"--decision-out": "{}", "--verdict-out": "Reject"}}],
        "finetune-register": [{"write": {"--version-out": "{}", "--number-out": ""}}],
    }
    trained = good["finetune-train"][0]
    scripts: dict[str, dict[str, list[Manifest]]] = {
        "tune-good": good,
        "tune-bad-data": {**good, "finetune-validate": [{"exit": 1}]},
        "tune-interrupted": {
            **good,
            "finetune-train": [{"exit": 137}, {"exit": 75}, trained],
            "finetune-evaluate": [{"exit": 2}],
        },
        "tune-no-verdict": {**good, "finetune-gate": [{"write": {"--decision-out": "{}"}}]},
    }
    return [
        _from_template(name, "nexus-finetune", told, script) for name, script in scripts.items()
    ]


def _from_template(
    name: str, template: str, parameters: dict[str, str], script: dict[str, list[Manifest]]
) -> Case:
    # Each run has an index or job of its own, else the mutex would make the runs wait.
    values = [
        {"name": key, "value": name if key in {"index", "job"} else value}
        for key, value in parameters.items()
    ]
    spec = {
        "workflowTemplateRef": {"name": template},
        "arguments": {"parameters": values},
        "parallelism": 2,
    }
    return Case(name, spec, script)


def random_case(number: int, image: str) -> Case:
    """Return a DAG of three to five tasks with conditions, fan-out, retries and limits."""
    draw = random.Random(number)
    script: dict[str, list[Manifest]] = {}
    tasks, made = [], []
    for index in range(draw.randint(3, 5)):
        name = f"t{index}"
        task: Manifest = {"name": name, "template": name}
        before = draw.sample(range(index), k=min(index, draw.randint(0, 2)))
        if before:
            sign = draw.choice([" && ", " || "])
            task["depends"] = sign.join(f"t{n}{draw.choice(RESULTS)}" for n in before)
        key = name
        if draw.random() < 0.4:
            task["withItems"] = list(range(draw.randint(1, 3)))
            key = f"{name}-{{{{item}}}}"
            task["when"] = draw.choice(["{{item}} > 0", "{{item}} != 1", "true"])
        elif draw.random() < 0.2:
            task["when"] = draw.choice(["1 > 2", "'a' == 'a'"])
        task["arguments"] = {"parameters": [{"name": "key", "value": key}]}
        for item in task.get("withItems", [""]):
            exits = draw.choice([[0], [0], [1], [75, 0], [75, 75, 75]])
            script[key.replace("{{item}}", str(item))] = [
                {"exit": code, "write": {"--out": f"said {name} {item}"}} for code in exits
            ]
        tasks.append(task)
        made.append(_step(name, image, retries=draw.choice([0, 0, 1, 2])))
    spec: Manifest = {
        "entrypoint": "main",
        "templates": [{"name": "main", "dag": {"tasks": tasks}}, *made],
    }
    if draw.random() < 0.5:
        spec["parallelism"] = draw.randint(1, 3)
    if draw.random() < 0.3:
        spec["templates"][0]["dag"]["failFast"] = False
    _share_state(spec)
    spec |= copy.deepcopy(POD)
    return Case(f"dag-{number}", spec, script)


RESTRICTED: Manifest = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}
POD: Manifest = {
    "serviceAccountName": "nexus-pipelines",
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    "podSpecPatch": json.dumps(
        {
            "initContainers": [{"name": "init", "securityContext": RESTRICTED}],
            "containers": [{"name": "wait", "securityContext": RESTRICTED}],
        }
    ),
}


def _step(name: str, image: str, *, retries: int) -> Manifest:
    step: Manifest = {
        "name": name,
        "inputs": {"parameters": [{"name": "key"}]},
        "outputs": {"parameters": [{"name": "out", "valueFrom": {"path": "/tmp/out"}}]},
        "container": {
            "image": image,
            "command": [COMMAND],
            "args": [
                "step",
                "--run={{workflow.name}}",
                "--key={{inputs.parameters.key}}",
                "--out={{outputs.parameters.out.path}}",
            ],
            "envFrom": [{"configMapRef": {"name": "nexus-platform"}}],
            "securityContext": RESTRICTED,
        },
    }
    if retries:
        step["retryStrategy"] = {"limit": str(retries), "retryPolicy": "Always"}
    return step
