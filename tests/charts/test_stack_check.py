"""`helm test` of nexus-stack: which stores it asks, in whose image, and as whom."""

import subprocess

import pytest
from rendering import STACK, Helm, Manifest, named, of_kind

ALL = ("postgresql", "mlflow", "milvus", "minio", "nats")
ELSEWHERE = {
    "ledgerUrl": "postgresql+psycopg://u:p@db/nexus",
    "s3AccessKey": "key",
    "s3SecretKey": "secret",
}


def without(*parts: str) -> Manifest:
    """Return values of a stack that lacks some stores."""
    return {"external": ELSEWHERE, **{name: {"enabled": False} for name in parts}}


def container(objects: list[Manifest]) -> Manifest:
    (only,) = named(objects, "Pod", "nexus-stack-test")["spec"]["containers"]
    return dict(only)


@pytest.mark.parametrize("first", range(len(ALL) - 1), ids=ALL[:-1])
def test_it_asks_what_is_enabled_in_the_image_of_a_store_with_a_bash(
    helm: Helm, first: int
) -> None:
    objects = helm.template(STACK, without(*ALL[:first]))
    host = named(objects, "Deployment", f"nexus-{ALL[first]}")["spec"]["template"]["spec"]
    asked = container(objects)
    environment = {one["name"]: one for one in asked["env"]}
    assert environment["STORES"]["value"].split() == list(ALL[first:])
    assert ("PGPASSWORD" in environment) == (ALL[first] == "postgresql")
    assert asked["image"] == host["containers"][0]["image"]
    pod = named(objects, "Pod", "nexus-stack-test")["spec"]
    assert pod["securityContext"] == host["securityContext"]
    assert asked["securityContext"] == host["containers"][0]["securityContext"]


def test_where_nothing_can_ask_there_is_no_test(helm: Helm) -> None:
    assert not of_kind(helm.template(STACK, without(*ALL[:-1])), "Pod")


def test_it_runs_where_its_store_runs(helm: Helm) -> None:
    place: Manifest = {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
    }
    values = {"global": {"imagePullSecrets": ["own"]}, "postgresql": place}
    pod = named(helm.template(STACK, values), "Pod", "nexus-stack-test")["spec"]
    assert place.items() <= pod.items()
    assert pod["imagePullSecrets"] == [{"name": "own"}]


def test_a_store_that_cannot_be_asked_fails_it(stack: list[Manifest]) -> None:
    """No program of that name is in the script, as no store of that name is in the network."""
    done = subprocess.run(
        [*container(stack)["command"], *container(stack)["args"]],
        env={"PATH": "/usr/bin:/bin", "STORES": "none another"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    said = done.stderr.splitlines()
    told = [line for line in said if "does not answer" in line]
    assert [line.split()[0] for line in told] == ["nexus-none", "nexus-another"]
