"""Rendering the charts with Helm, for tests."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

ROOT = Path(__file__).parents[2]
CHARTS = ROOT / "charts"
PLATFORM = CHARTS / "llmops-nexus"
STACK = CHARTS / "nexus-stack"
NAMESPACE = "nexus-system"
KUBERNETES = "1.34.4"
MONITORING = "monitoring.coreos.com/v1"
"""What a cluster serves where the Prometheus operator is."""
_SECONDS = 60

OWN_CREDENTIALS = {
    "existingSecret": "",
    "ledgerUrl": "postgresql+psycopg://nexus:s3cr3t-ledger@db/nexus",
    "s3AccessKey": "s3cr3t-access",
    "s3SecretKey": "s3cr3t-secret",
    "milvusToken": "s3cr3t-token",
}


class HelmRefused(Exception):
    """Helm ended with an error; the message is what it said."""


class Helm:
    """The helm command, against one cluster when it has a kubeconfig."""

    def __init__(self, program: Path, kubeconfig: Path | None = None) -> None:
        self._program = program
        self._kubeconfig = kubeconfig

    def run(self, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        """Return what helm printed.  Raises HelmRefused."""
        command = [str(self._program), *arguments]
        given = None
        if values is not None:
            command += ["--values", "-"]
            given = yaml.safe_dump(dict(values))
        environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
        if self._kubeconfig is not None:
            environment["KUBECONFIG"] = str(self._kubeconfig)
        done = subprocess.run(
            command,
            check=False,
            input=given,
            capture_output=True,
            text=True,
            env=environment,
            timeout=_SECONDS,
        )
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if "symbolic link" not in line]
            raise HelmRefused("\n".join(said))
        return done.stdout

    def template(
        self,
        chart: Path,
        values: Mapping[str, Any] | None = None,
        *,
        namespace: str = NAMESPACE,
        serves: str = MONITORING,
        release: str = "nexus",
    ) -> list[Manifest]:
        """Return the objects that a chart renders, hooks included, for a cluster that `serves`.

        Raises HelmRefused.
        """
        text = self.run(
            "template", release, str(chart), "--namespace", namespace, "--kube-version",
            KUBERNETES, *(["--api-versions", serves] if serves else []), values=values or {},
        )  # fmt: skip
        return [one for one in yaml.load_all(text, yaml.CSafeLoader) if one]


def of_kind(objects: Sequence[Manifest], kind: str) -> list[Manifest]:
    return [one for one in objects if one["kind"] == kind]


def named(objects: Sequence[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [one for one in of_kind(objects, kind) if one["metadata"]["name"] == name]
    return found


def pod_specs(objects: Sequence[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Yield name and spec of each pod that the objects would start."""
    for one in objects:
        if one["kind"] == "Pod":
            yield one["metadata"]["name"], one["spec"]
        elif one["kind"] in {"Deployment", "Job"}:
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]


def titles(objects: list[Manifest]) -> set[str]:
    return {f"{one['kind']}/{one['metadata']['name']}" for one in objects}


def settings_of(objects: list[Manifest]) -> Manifest:
    text = named(objects, "ConfigMap", "nexus-operator")["data"]["settings.yaml"]
    settings: Manifest = yaml.safe_load(text)
    return settings
