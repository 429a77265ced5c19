"""`nexus logs` and `nexus runs`: what a resource's processes said, and its workflow runs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from nexus_api.meta import INDEX_LABEL, JOB_LABEL, MODEL_LABEL, NAMESPACE_LABEL, Manifest
from nexus_local.cli.errors import CliError, UsageError
from nexus_local.cli.kinds import Kind, find_kind, split_target
from nexus_local.cli.kube import KubeClient
from nexus_local.cli.output import age
from nexus_local.cli.table import print_table
from nexus_local.cli.target import Target, connected

LABELS = {"RagIndex": INDEX_LABEL, "ServingModel": MODEL_LABEL, "FineTuneJob": JOB_LABEL}
console = Console()


def owned_by(kind: Kind, namespace: str, name: str) -> str:
    """The label selector of what belongs to one of our resources."""
    return f"{LABELS[kind.name]}={name},{NAMESPACE_LABEL}={namespace}"


@connected
def logs(
    target: Target,
    what: Annotated[list[str], typer.Argument(help="KIND/NAME, e.g. servingmodel/assistant")],
    follow: Annotated[bool, typer.Option("--follow", "-f")] = False,
    previous: Annotated[bool, typer.Option(help="The log before the last restart.")] = False,
    tail: Annotated[int | None, typer.Option(help="Only so many last lines.")] = None,
) -> None:
    """Print what the processes of a resource said."""
    kind, names = split_target(what)
    if len(names) != 1:
        raise UsageError("name one resource, as KIND/NAME")
    kube = target.kube()
    pods = _pods(kube, kind, target.namespace, names[0])
    if not pods:
        raise CliError(f"{kind.display}/{names[0]} has no process whose log is kept")
    for pod in pods if not follow else pods[-1:]:
        meta = pod["metadata"]
        prefix = f"[{meta['name']}] " if len(pods) > 1 and not follow else ""
        lines = kube.logs(
            meta["namespace"], meta["name"], previous=previous, follow=follow, tail=tail
        )
        for line in lines:
            console.out(prefix + line, highlight=False)


def _pods(kube: KubeClient, kind: Kind, namespace: str, name: str) -> list[Manifest]:
    """The pods of a resource, oldest first; of a RagIndex those of its newest run."""
    pods = find_kind("pods")
    if kind.name == "Pod":
        return [kube.get(kind, namespace, name)]
    if kind.name in LABELS:
        kube.get(kind, namespace, name)
        found, _ = kube.list(pods, None, labels=owned_by(kind, namespace, name))
        if not found:
            runs = _runs(kube, kind, namespace, name)
            found = _of_workflow(kube, runs[0]) if runs else []
    elif kind.name == "Workflow":
        found = _of_workflow(kube, kube.get(kind, namespace, name))
    elif kind.name == "Deployment":
        deployment = kube.get(kind, namespace, name)
        labels = deployment["spec"]["selector"]["matchLabels"]
        found, _ = kube.list(
            pods, namespace, labels=",".join(f"{k}={v}" for k, v in labels.items())
        )
    else:
        raise UsageError(f"a {kind.name} has no log")
    return sorted(found, key=lambda p: str(p["metadata"]["creationTimestamp"]))


def _of_workflow(kube: KubeClient, workflow: Manifest) -> list[Manifest]:
    meta = workflow["metadata"]
    selector = f"workflows.argoproj.io/workflow={meta['name']}"
    return kube.list(find_kind("pods"), meta["namespace"], labels=selector)[0]


def _runs(kube: KubeClient, kind: Kind, namespace: str, name: str) -> list[Manifest]:
    """The workflows of a resource, newest first."""
    found, _ = kube.list(find_kind("workflows"), None, labels=owned_by(kind, namespace, name))
    return sorted(found, key=lambda w: str(w["metadata"]["creationTimestamp"]), reverse=True)


@connected
def runs(
    target: Target,
    what: Annotated[list[str], typer.Argument(help="KIND/NAME, e.g. ragindex/handbook")],
) -> None:
    """List the workflow runs of a resource, newest first."""
    kind, names = split_target(what)
    if len(names) != 1 or kind.name not in LABELS:
        raise UsageError("name one ragindex, servingmodel or finetunejob, as KIND/NAME")
    kube = target.kube()
    kube.get(kind, target.namespace, names[0])
    now = datetime.now(UTC)
    tuned = kind.name == "FineTuneJob"
    rows = []
    for run in _runs(kube, kind, target.namespace, names[0]):
        status = run.get("status") or {}
        rows.append(
            [
                run["metadata"]["name"],
                *([verdict(run)] if tuned else []),
                str(status.get("phase") or "Pending"),
                str(status.get("progress") or ""),
                _took(status, now),
                age(run["metadata"]["creationTimestamp"], now),
                str(status.get("message") or ""),
            ]
        )
    heads = ("RUN", *(("OUTCOME",) if tuned else ()), "PHASE", "PROGRESS", "TOOK", "AGE", "MESSAGE")
    print_table(console, heads, rows)


def verdict(run: Manifest) -> str:
    """What a run of a FineTuneJob came to, for instance `Promote 3`; of a move, what it did.

    Of a count of new examples, how many it found, for instance `12 new`.
    """
    found: dict[str, str] = {}
    for node in ((run.get("status") or {}).get("nodes") or {}).values():
        for one in (node.get("outputs") or {}).get("parameters") or ():
            if one.get("value"):  # Argo names what a failed pod was to write, without a value
                found[str(one.get("name"))] = str(one["value"])
    if "newData" in found:
        return f"{json.loads(found['newData'])['examples']} new"
    given = (run["spec"].get("arguments") or {}).get("parameters") or ()
    asked = {str(one.get("name")): str(one.get("value", "")) for one in given}
    parts = (asked.get("action", ""), found.get("verdict", ""))
    version = found.get("number", "") or asked.get("version", "")
    return " ".join(part for part in (*parts, version) if part)


def _took(status: Manifest, now: datetime) -> str:
    if not status.get("startedAt"):
        return ""
    end = datetime.fromisoformat(status["finishedAt"]) if status.get("finishedAt") else now
    return f"{(end - datetime.fromisoformat(status['startedAt'])).total_seconds():.1f}s"
