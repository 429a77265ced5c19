"""`$(VAR)` references, container paths, and what is passed on to children."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_local.node.container import image_name, passed_on
from nexus_local.node.errors import PodRefusedError
from nexus_local.node.expansion import expand, local_path
from nexus_local.node.subset import check

VARIABLES = {"A": "1", "B": "$(A)", "PATH.x": "y"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(A)", "x1y1"),
        ("$(B)", "$(A)"),  # values are not expanded again
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(MISSING)", "$(MISSING)"),
        ("$(PATH.x)", "y"),
        ("$A ${A} $( A) $(", "$A ${A} $( A) $("),
        ("$$", "$"),
    ],
)
def test_references(text: str, expanded: str) -> None:
    assert expand(text, VARIABLES) == expanded


@given(st.text(alphabet=st.characters(blacklist_characters="$"), max_size=40))
def test_text_without_a_dollar_stays(text: str) -> None:
    assert expand(text, VARIABLES) == text


MOUNTS = {"/models": Path("/data/m"), "/models/deep": Path("/data/d"), "/keys/": Path("/data/k")}
FILES = {"/models/out": Path("/run/out")}


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("/models", "/data/m"),
        ("/models/a/b", "/data/m/a/b"),
        ("/models/deep/x", "/data/d/x"),
        ("/models/out", "/run/out"),
        ("--cache=/models/a", "--cache=/data/m/a"),
        ("--out=/models/out", "--out=/run/out"),
        ("file:///models/a", "file:///data/m/a"),
        ("/keys/token", "/data/k/token"),
        ("/modelsmith", "/modelsmith"),
        ("see /models", "see /models"),
        ("models/a", "models/a"),
        ("--=/models", "--=/models"),
    ],
)
def test_container_paths(text: str, local: str) -> None:
    assert local_path(text, FILES, MOUNTS) == local


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("nexus-gateway", "nexus-gateway"),
        ("ghcr.io/x/nexus-gateway:0.1", "nexus-gateway"),
        ("localhost:5000/nexus-gateway", "nexus-gateway"),
        ("ghcr.io/x/nexus-gateway@sha256:abc", "nexus-gateway"),
        ("ghcr.io/x/nexus-gateway:0.1@sha256:abc", "nexus-gateway"),
    ],
)
def test_image_names(image: str, name: str) -> None:
    assert image_name(image) == name


def test_little_is_passed_on() -> None:
    ours = {"PATH": "/bin", "https_proxy": "p", "UV_CACHE_DIR": "c", "AWS_SECRET": "s", "X": "y"}
    assert set(passed_on(ours)) == {"PATH", "https_proxy", "UV_CACHE_DIR"}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"hostNetwork": True}, "spec.hostNetwork"),
        ({"initContainers": [{"name": "x"}]}, "spec.initContainers"),
        ({"volumes": [{"name": "x", "hostPath": {"path": "/"}}]}, "spec.volumes[0].hostPath"),
        ({"containers": [{"name": "a"}, {"name": "b"}]}, "spec.containers"),
        (
            {"containers": [{"volumeMounts": [{"name": "x", "subPath": "y"}]}]},
            "spec.containers[0].volumeMounts[0].subPath",
        ),
        ({"containers": [{"workingDir": "/x"}]}, "spec.containers[0].workingDir"),
        (
            {"containers": [{"livenessProbe": {"grpc": {"port": 1}}}]},
            "spec.containers[0].livenessProbe.grpc",
        ),
        (
            {"containers": [{"readinessProbe": {"httpGet": {"port": 1, "scheme": "HTTPS"}}}]},
            "httpGet.scheme",
        ),
        ({"containers": [{"ports": [{"containerPort": 1, "protocol": "UDP"}]}]}, "protocol: UDP"),
        (
            {"containers": [{"env": [{"name": "X", "valueFrom": {"resourceFieldRef": {"a": 1}}}]}]},
            "resourceFieldRef",
        ),
    ],
)
def test_what_is_not_offered_is_named(spec: dict[str, object], field: str) -> None:
    with pytest.raises(PodRefusedError) as refused:
        check({"containers": [{"name": "a"}], **spec})
    assert field in refused.value.message


def test_what_has_no_effect_here_is_accepted() -> None:
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    container = {
        "name": "a",
        "image": "x",
        "imagePullPolicy": "Never",
        "resources": {"limits": {"memory": "1Gi"}},
        "securityContext": {"allowPrivilegeEscalation": False},
        "volumeMounts": [{"name": "x", "mountPath": "/x", "readOnly": True}],
    }
    check(
        {
            "containers": [container],
            "securityContext": security,
            "serviceAccountName": "x",
            "enableServiceLinks": False,
            "hostNetwork": False,
            "tolerations": [{"operator": "Exists"}],
        }
    )
