"""Charts are rendered by the real helm, and what they render is judged by a real API server."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "cluster"), str(ROOT / "charts"), str(Path(__file__).parent)]

from api_server import Cluster, prepared  # noqa: E402 - the path is set above
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
        kubeconfig.write_text(yaml.safe_dump(_kubeconfig(control_plane)))
        yield prepared(control_plane, Helm(program("helm"), kubeconfig))


def _kubeconfig(control_plane: ControlPlane) -> dict[str, object]:
    authority = control_plane.folder / "certificates" / "apiserver.crt"
    server = {"server": control_plane.url, "certificate-authority": str(authority)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": server}],
        "users": [{"name": "test", "user": {"token": control_plane.token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
