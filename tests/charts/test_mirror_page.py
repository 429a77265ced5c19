"""The Job of docs/how-to/mirror-models.md runs beside the platform that the chart installs."""

import argparse
import re

import pytest
import yaml
from api_server import Cluster
from rendering import NAMESPACE, ROOT, Manifest, named

from nexus_api.servingmodel import ServingModel
from nexus_api.uri import parse_uri
from nexus_pipelines.model_mirror import cli

PAGE = (ROOT / "docs" / "how-to" / "mirror-models.md").read_text()


@pytest.fixture
def job() -> Manifest:
    (text,) = re.findall(r"```yaml\n([^`]*kind: Job\n[^`]*)```", PAGE)
    made: Manifest = yaml.safe_load(text)
    return made


@pytest.fixture
def container(job: Manifest) -> Manifest:
    (found,) = job["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_it_runs_the_image_and_finds_the_stores_of_the_platform(
    platform: list[Manifest], job: Manifest, container: Manifest
) -> None:
    assert job["metadata"]["namespace"] == NAMESPACE
    images = {
        one["image"]
        for task in platform
        if task["kind"] == "Job"
        for one in task["spec"]["template"]["spec"]["containers"]
    }
    assert container["image"] in images
    config = named(platform, "ConfigMap", "nexus-platform")
    account = named(platform, "Deployment", "nexus-gateway")["spec"]["template"]["spec"]
    secrets = [one["secretRef"]["name"] for one in account["containers"][0]["envFrom"][1:]]
    assert container["envFrom"] == [
        {"configMapRef": {"name": config["metadata"]["name"]}},
        {"secretRef": {"name": secrets[0]}},
    ]
    places = [one["mountPath"] for one in container["volumeMounts"]]
    assert config["data"]["NEXUS_MODEL_CACHE"] in places


def test_it_asks_for_what_the_step_takes(container: Manifest) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    cli.add_arguments(parser)
    step, *words = container["args"]
    assert step == "model-mirror"
    asked = parser.parse_args(words)
    assert parse_uri(asked.uri).scheme == "hf"
    assert parse_uri(asked.to).scheme == "s3"
    (served,) = re.findall(r"```yaml\n([^`]*kind: ServingModel\n[^`]*)```", PAGE)
    model = ServingModel.model_validate(yaml.safe_load(served))
    assert model.spec.model.uri == asked.to


@pytest.mark.apiserver
def test_it_is_admitted_where_pods_must_be_restricted(cluster: Cluster, job: Manifest) -> None:
    assert cluster.judge(job) == ""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "mirror", "namespace": NAMESPACE},
        "spec": job["spec"]["template"]["spec"],
    }
    assert cluster.judge(pod) == ""
