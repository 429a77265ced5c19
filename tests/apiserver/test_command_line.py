"""The command line's resource verbs against a real API server, found by a kubeconfig context."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from testcluster.control_plane import ControlPlane

pytestmark = pytest.mark.apiserver
Nexus = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "manifests" / "samples"


@pytest.fixture
def nexus(api: ControlPlane, tmp_path: Path) -> Iterator[Nexus]:
    """Run one command in a namespace of its own."""
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "cli-"}}
    namespace = api.client.post("/api/v1/namespaces", json=space).json()["metadata"]["name"]
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "test",
                "cluster": {
                    "server": api.url,
                    "certificate-authority": str(api.folder / "certificates" / "apiserver.crt"),
                },
            }
        ],
        "users": [{"name": "admin", "user": {"token": api.token}}],
        "contexts": [{"name": "real", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "real",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))

    def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "nexus_local", *words]
        return subprocess.run(
            [*command, "--context", "real", "-n", namespace],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "KUBECONFIG": str(path), "COLUMNS": "80"},
        )

    yield run
    api.client.delete(f"/api/v1/namespaces/{namespace}")


def test_apply_get_describe_delete(nexus: Nexus) -> None:
    files = ("-f", str(SAMPLES / "handbook.yaml"), "-f", str(SAMPLES / "assistant.yaml"))
    applied = nexus("apply", *files)
    assert applied.returncode == 0, applied.stderr
    assert applied.stdout.splitlines() == [
        "ragindex.llmops.nexus/handbook created",
        "servingmodel.llmops.nexus/assistant created",
    ]
    assert "handbook unchanged" in nexus("apply", *files).stdout
    assert "handbook" in nexus("get", "ri").stdout
    seen = json.loads(nexus("get", "ri/handbook", "-o", "json").stdout)
    assert seen["spec"]["chunking"]["maxTokens"] == 256
    assert "maxTokens: 256" in nexus("describe", "ri", "handbook").stdout
    assert nexus("wait", "ri/handbook", "--for", "jsonpath={.spec.sync.interval}=5m").stdout
    late = nexus("wait", "ri/handbook", "--for", "condition=Ready", "--timeout", "1s")
    assert late.returncode == 1
    assert "timed out" in late.stderr
    gone = nexus("delete", *files)
    assert gone.returncode == 0, gone.stderr
    assert nexus("get", "ri/handbook").returncode == 1


def test_a_bad_resource_is_refused_with_the_servers_words(nexus: Nexus) -> None:
    bad = (
        "{apiVersion: llmops.nexus/v1alpha1, kind: RagIndex, metadata: {name: x},"
        " spec: {chunking: {maxTokens: 64, overlapTokens: 64}}}"
    )
    done = nexus("apply", "-f", "-", stdin=bad)
    assert done.returncode == 1
    assert "must be smaller than maxTokens (64)" in " ".join((done.stdout + done.stderr).split())


def test_every_sample_can_be_applied(nexus: Nexus) -> None:
    done = nexus("apply", "-f", str(SAMPLES))
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) >= len(list(SAMPLES.glob("*.yaml")))
    assert all(line.endswith(" created") for line in done.stdout.splitlines())
