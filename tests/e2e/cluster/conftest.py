"""The end-to-end tier on a real cluster: one cluster for all of its tests, one installation."""

import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from needs import lacking

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "tests" / "cluster"))

from images import ImageMissing, built  # noqa: E402 - the path is set above
from testcluster.binaries import BinaryMissing  # noqa: E402
from testcluster.cluster import Cluster  # noqa: E402
from testcluster.config import ClusterConfig  # noqa: E402
from testcluster.errors import ClusterUnavailable  # noqa: E402

from nexus_models import fetch  # noqa: E402

from .account import account  # noqa: E402
from .installation import IMAGES, MODELS, MODELS_CACHE, Installation  # noqa: E402
from .site import Site  # noqa: E402


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Have a failed test say what the cluster looked like, since afterwards it is gone."""
    report = yield
    if report.failed and (said := account(Cluster(ClusterConfig()))):
        report.sections.append(("the cluster", said))
    return report


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A running cluster; this thread is inside its network as long as it runs.

    It goes with its file: tests of other folders must not find themselves in that network, while
    threads that a library had started earlier stay outside of it.
    With NEXUS_TEST_CLUSTER=running, the one that `make cluster-up` started is used and left so.
    """
    made = Cluster(ClusterConfig(test_services=False))
    found = os.environ.get("NEXUS_TEST_CLUSTER") == "running"
    try:
        # Before this thread is where no package index is to be had.
        for name in IMAGES:
            built(name)
        for uri in MODELS:
            fetch(uri, cache=MODELS_CACHE)
        if not found:
            made.up()
    except (BinaryMissing, ClusterUnavailable, ImageMissing) as error:
        lacking(error)
    try:
        with made.joined():
            yield made
    finally:
        if not found:
            made.down()


@pytest.fixture(scope="module")
def installation(cluster: Cluster, request: pytest.FixtureRequest) -> Installation:
    """The platform, installed from the charts with the images of this checkout.

    A module may name values of its own for the platform's chart, `PLATFORM_VALUES`.
    """
    installation = Installation(cluster, getattr(request.module, "PLATFORM_VALUES", {}))
    installation.prepare()
    installation.install()
    return installation


@pytest.fixture(scope="module")
def site(installation: Installation) -> Site:
    """The platform as its users reach it."""
    return installation.site
