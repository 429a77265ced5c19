"""An account of the chart on a real API server: with the chart's role, and a token."""

import json
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from fault_lab.rbac import Right, Use, granted, used
from needs import program
from testcluster.control_plane import ControlPlane
from waiting import eventually

Manifest = dict[str, Any]
NAMESPACE = "default"
TENANT = "team-of-the-account"
OURS = f"/apis/llmops.nexus/v1alpha1/namespaces/{TENANT}"
_CHART = Path(__file__).parents[2] / "charts" / "llmops-nexus"
_RBAC = "rbac.authorization.k8s.io/v1"
_TOO_EARLY = (AssertionError, json.JSONDecodeError)  # a line may be half written


def rendered(account: str, values: str = "") -> list[Manifest]:
    """Return the account's role and its binding; values as helm's `--set` takes them."""
    command = [str(program("helm")), "template", "nexus", str(_CHART), "--namespace", NAMESPACE]
    command += ["--show-only", "templates/rbac.yaml", "--kube-version", "1.34.4"]
    command += ["--set", values] if values else []
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    objects = [one for one in yaml.safe_load_all(done.stdout) if one]
    names = {account, f"{NAMESPACE}-{account}"}
    return [
        one for one in objects if one["apiVersion"] == _RBAC and one["metadata"]["name"] in names
    ]


@contextmanager
def token_of(
    api: ControlPlane, account: str, roles: Iterable[Manifest], resources: Iterable[Manifest]
) -> Iterator[str]:
    """Make an account, its roles and a tenant's resources; yields a token.  All goes afterwards."""
    accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    made: list[str] = []

    def make(path: str, body: Manifest) -> None:
        answer = api.client.post(path, json=body)
        assert answer.status_code == 201, answer.text
        made.append(f"{path}/{body['metadata']['name']}")

    try:
        make(accounts, {"metadata": {"name": account}})
        for one in roles:
            scope = f"/namespaces/{NAMESPACE}" if "namespace" in one["metadata"] else ""
            make(f"/apis/{_RBAC}{scope}/{one['kind'].lower()}s", one)
        if api.client.get(f"/api/v1/namespaces/{TENANT}").status_code == 404:
            answer = api.client.post("/api/v1/namespaces", json={"metadata": {"name": TENANT}})
            assert answer.status_code == 201, answer.text
        for one in resources:
            plural = {"RagIndex": "ragindexes"}.get(one["kind"], f"{one['kind'].lower()}s")
            make(f"{OURS}/{plural}", {**one, "metadata": {**one["metadata"], "namespace": TENANT}})
        asked = {"spec": {"expirationSeconds": 600}}
        answer = api.client.post(f"{accounts}/{account}/token", json=asked)
        assert answer.status_code == 201, answer.text
        yield answer.json()["status"]["token"]
    finally:
        for path in reversed(made):
            api.client.delete(path)


def kubeconfig(api: ControlPlane, token: str) -> str:
    """Return the text of a kubeconfig by which a program is this account."""
    authority = str(api.folder / "certificates" / "apiserver.crt")
    server = {"server": api.url, "certificate-authority": authority}
    context = {"cluster": "here", "user": "account", "namespace": NAMESPACE}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "account",
            "contexts": [{"name": "account", "context": context}],
            "clusters": [{"name": "here", "cluster": server}],
            "users": [{"name": "account", "user": {"token": token}}],
        }
    )


@contextmanager
def process(command: list[str], log: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program beside the test; a test that fails shows what it said."""
    environment = {**os.environ, "TMPDIR": str(log.parent), **variables}
    with log.open("wb") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, env=environment, cwd=log.parent)
    try:
        yield child
    except BaseException as error:
        error.add_note(log.read_text(errors="replace")[-4000:])
        raise
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(timeout=60)


def check_rights(api: ControlPlane, account: str, roles: Iterable[Manifest]) -> None:
    """Check that nothing is granted that the audit log does not show used, and the reverse."""
    user = f"system:serviceaccount:{NAMESPACE}:{account}"
    rights = granted(roles, account)

    def uses() -> list[Use]:
        found = list(used(api.audit_log, user, NAMESPACE))
        assert not (idle := rights - {one.right for one in found}), "never used: " + _told(idle)
        return found

    # A request is written down when it is over, a moment after its answer was seen.
    asked = eventually(uses, what="a use of all that is granted", despite=_TOO_EARLY)
    refused = {one.right for one in asked if not one.allowed}
    assert not refused, "asked for and not granted: " + _told(refused)
    more = {one.right for one in asked} - rights
    assert not more, "allowed by somebody else's role: " + _told(more)


def _told(rights: Iterable[Right]) -> str:
    return ", ".join(sorted(map(str, rights)))
