"""A namespace under PodSecurity `restricted`, and what else our objects name."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from foreign import pod_monitors
from needs import lacking, program

sys.path[:0] = [str(Path(__file__).parent)]

from builders_place import NAMESPACE, PLURALS  # noqa: E402 - the path is set above
from testcluster.binaries import BinaryMissing  # noqa: E402
from testcluster.control_plane import ControlPlane  # noqa: E402
from testcluster.definitions import Project, definitions  # noqa: E402

_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_SECONDS = 120
_PROJECTS: tuple[Project, ...] = ("argo-workflows", "argo-events")


@pytest.fixture(scope="module")
def restricted() -> Iterator[httpx.Client]:
    """An API server of our own, with the namespace, its service account and a runtime class."""
    program("etcd")
    program("kube")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"metadata": {"name": NAMESPACE, "labels": labels}}
    account = {"metadata": {"name": "default"}}
    runtime = {"metadata": {"name": "nvidia"}, "handler": "nvidia"}
    with ControlPlane() as running:
        for url, one in (
            ("/api/v1/namespaces", namespace),
            (f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", account),
            ("/apis/node.k8s.io/v1/runtimeclasses", runtime),
        ):
            running.client.post(url, json=one).raise_for_status()
        yield running.client


@pytest.fixture(scope="module")
def foreign(restricted: httpx.Client) -> httpx.Client:
    """The same with the definitions of others that our objects are of: Argo's, and PodMonitors."""
    try:
        items = [one for project in _PROJECTS for one in _items(project)]
        items.append(pod_monitors())
    except BinaryMissing as error:
        lacking(error)
    for one in items:
        restricted.post(_DEFINITIONS, json=one).raise_for_status()
    deadline = time.monotonic() + _SECONDS
    while not all(_served(restricted, one) for one in items):
        assert time.monotonic() < deadline, "definitions of others are not served"
        time.sleep(0.05)
    return restricted


def _items(project: Project) -> list[Any]:
    listed = json.loads(definitions(project).read_bytes())["items"]
    return [one for one in listed if one["spec"]["names"]["plural"] in PLURALS.values()]


def _served(client: httpx.Client, definition: Any) -> bool:
    spec = definition["spec"]
    version = spec["versions"][0]["name"]
    return client.get(f"/apis/{spec['group']}/{version}/{spec['names']['plural']}").is_success
