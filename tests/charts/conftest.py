"""Charts are rendered by the real helm, and what they render is judged by a real API server."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "cluster"), str(ROOT / "charts"), str(Path(__file__).parent)]

from api_server import Cluster, kubeconfig_of, prepared  # noqa: E402 - the path is set above
from needs import program  # noqa: E402
from rendering import PLATFORM, STACK, Helm, Manifest  # noqa: E402
from testcluster.control_plane import ControlPlane  # noqa: E402


@pytest.fixture(scope="session")
def helm() -> Helm:
    return Helm(program("helm"))


@pytest.fixture(scope="session")
def platform(helm: Helm) -> list[Manifest]:
    return helm.template(PLATFORM)


@pytest.fixture(scope="session")
def stack(helm: Helm) -> list[Manifest]:
    return helm.template(STACK)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server with Argo's kinds and a namespace where pods must be `restricted`."""
    for name in ("etcd", "kube"):
        program(name)
    with ControlPlane() as control_plane:
        kubeconfig = tmp_path_factory.mktemp("helm") / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(kubeconfig_of(control_plane, control_plane.token)))
        yield prepared(control_plane, Helm(program("helm"), kubeconfig))
