"""Argo CD's own code, as `tests/cluster/argocd` puts it together, run on what a test gives it."""

import copy
import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from needs import program
from rendering import ROOT, Manifest

FOLDER = ROOT / "manifests" / "argocd"
_SECONDS = 300


@cache
def applications() -> dict[str, Manifest]:
    """Return our Applications by their names."""
    found = [yaml.safe_load(path.read_text()) for path in (FOLDER / "apps").glob("*.yaml")]
    return {one["metadata"]["name"]: one for one in found}


def health(script: Path, resource: Manifest) -> Manifest:
    """Return status and message that a Lua health check gives."""
    found: Manifest = json.loads(_argocd("health", script, resource))
    return found


def sync(kubeconfig: Path, application: Manifest, objects: list[Manifest]) -> None:
    """Apply objects of an Application, less its hooks."""
    _argocd("sync", kubeconfig, {"application": application, "objects": objects})


def differences(
    kubeconfig: Path, application: Manifest, objects: list[Manifest]
) -> dict[str, Manifest | None]:
    """Return for each object what is stored and what a sync would make of it; None: the same."""
    given = {"application": application, "objects": objects}
    return {
        f"{one['kind']}/{one['name']}": _said(one) if one["modified"] else None
        for one in json.loads(_argocd("diff", kubeconfig, given))
    }


def _said(verdict: Manifest) -> Manifest:
    return {"live": verdict["live"], "predicted": verdict["predicted"]}


def application(name: str, namespace: str, way: str) -> Manifest:
    """Return one of our Applications, for another namespace.

    `way` is how it is compared: `structured` as ours are, which are applied by the server;
    `dry-run` where ServerSideDiff is asked for; `three-way` for one that Argo CD itself applies.
    """
    made = copy.deepcopy(applications()[name])
    made["spec"]["destination"]["namespace"] = namespace
    options: list[str] = made["spec"]["syncPolicy"]["syncOptions"]
    assert "ServerSideApply=true" in options
    if way == "dry-run":
        notes = made["metadata"]["annotations"]
        notes["argocd.argoproj.io/compare-options"] = "ServerSideDiff=true"
    if way == "three-way":
        options.remove("ServerSideApply=true")
    return made


def _argocd(command: str, path: Path, given: Any) -> str:
    done = subprocess.run(
        [str(program("argocd")), command, str(path)],
        check=False,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
