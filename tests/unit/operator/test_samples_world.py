"""The samples that belong together work together, by what the platform ships and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from small_world import World
from tuning import job_status, parameters, runs

from nexus_api import alerts
from nexus_api.finetunejob import FineTuneJob
from nexus_api.manifests import load_manifests
from nexus_api.meta import ALERT_REQUESTED, RUN_REQUESTED, Manifest
from nexus_operator.reconcile.reconcile import Key
from nexus_operator.settings import Settings
from nexus_pipelines.finetune.bounds import check_bounds

ROOT = Path(__file__).parents[3]
JOB = Key("FineTuneJob", "default", "technician-tuning")
INDEX = Key("RagIndex", "default", "manuals")


def sample(name: str) -> Manifest:
    """Return a sample as it is applied: in the namespace default."""
    [found] = load_manifests((ROOT / "manifests/samples" / f"{name}.yaml").read_text())
    return {**found, "metadata": {**found["metadata"], "namespace": "default"}}


@pytest.fixture(params=["laptop", "cluster"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(Settings(on_kubernetes=request.param == "cluster"))
    for name in ("ragindex", "servingmodel", "finetunejob"):
        made.create(sample(name))
    made.settle(JOB)
    yield made
    made.close()


@pytest.fixture
def job() -> FineTuneJob:
    return FineTuneJob.model_validate(sample("finetunejob"))


def test_the_job_can_be_run_and_what_it_releases_is_served(world: World) -> None:
    assert world.condition(JOB)["reason"] == "Resolved"
    assert runs(world) == []  # Sunday night, or an alert
    world.annotate(JOB, RUN_REQUESTED, "ada-1")
    world.settle(JOB)
    [run] = runs(world)
    assert parameters(run)["promotion"] == "Manual"
    assert "adapterUri" not in parameters(run)["production"]  # there is no champion yet


def test_it_runs_for_an_alert_that_the_platform_ships(world: World, job: FineTuneJob) -> None:
    shipped = {
        rule["alert"]: rule
        for path in (ROOT / "charts/llmops-nexus/files/rules").glob("*.yaml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert job.spec.triggers is not None
    [listens] = [one.matchers for one in job.spec.triggers.alerts]
    rule = shipped[listens["alertname"]]
    words = rule["annotations"]["summary"]
    labels = {"alertname": rule["alert"], "tenant": "default", "model": "technician"}
    assert all(f"$labels.{name} " in words for name in labels.keys() - {"alertname"})
    fired = {"status": "firing", "labels": labels | rule["labels"], "fingerprint": "f00d"}
    told = {"alerts": [{**fired, "startsAt": "2026-01-31T11:59:00Z"}]}
    asked = alerts.firing(told, [listens])
    assert asked
    synced = {"lastSyncTime": world.now.strftime("%Y-%m-%dT%H:%M:%SZ")}
    world.set_status(world.the(INDEX), synced)
    world.annotate(JOB, ALERT_REQUESTED, asked)
    world.settle(JOB)
    assert job_status(world, JOB)["lastRun"]["cause"] == "Alert"


@pytest.mark.parametrize("bucket", ["s3://nexus", "file:///var/lib/nexus/documents"])
def test_what_it_reads_lies_where_a_tenant_may_read(job: FineTuneJob, bucket: str) -> None:
    spec = job.spec
    for field, uri in {
        "baseModel.uri": spec.base_model.uri,
        "evaluation.goldenSet": spec.evaluation.golden_set,
    }.items():
        if uri is not None:
            stores = ["s3://nexus-work", "s3://nexus-models"]
            check_bounds(field, uri, "default", bucket_url=bucket, closed=stores, shared=[])
            assert not uri.startswith("s3://"), "a laptop's documents are files"
            assert not uri.startswith("file://"), "a cluster's steps open no files"
    served = sample("servingmodel")["spec"]["model"]
    assert spec.base_model.uri == served["uri"], "an adapter is of the weights that are served"
