"""The test cluster as people type it, from the first command to the last."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from needs import lacking
from testcluster import lock, requirements
from testcluster.config import ClusterConfig

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

ROOT = Path(__file__).parents[3]
SECONDS = 2000.0


class Said(NamedTuple):
    """What a command answered."""

    status: int
    out: str
    err: str


def typed(*command: str) -> Said:
    """Run a command as a person does in the root of a checkout."""
    done = subprocess.run(
        command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=SECONDS
    )
    return Said(done.returncode, done.stdout, done.stderr)


def make(target: str) -> Said:
    """Make a target of the Makefile, whose words are the same where `make test` runs this."""
    return typed("make", "--no-print-directory", target)


def in_cluster(*command: str) -> Said:
    """Run a command in the cluster's network, with KUBECONFIG set."""
    return typed(".venv/bin/python", "tests/cluster/cluster.py", "run", "--", *command)


@pytest.fixture
def free_machine() -> Iterator[None]:
    """A machine that can run a cluster and has none; it has none afterwards either."""
    if os.environ.get("NEXUS_TEST_CLUSTER") == "running":
        pytest.skip("a cluster that is to be kept runs here, and one is all that a machine has")
    if lacks := requirements.missing(ClusterConfig()):
        lacking("; ".join(lacks))
    os.close(lock.acquire(patience=1800))  # that of another checkout may run yet
    yield
    make("cluster-down")


def test_up_status_run_down(free_machine: None) -> None:
    assert make("cluster-status").out == "down\n"
    assert "the cluster is down" in in_cluster("kubectl", "get", "nodes").err

    up = make("cluster-up")
    assert up.status == 0, up.err
    assert up.out.startswith("up in ")
    assert make("cluster-up").out == "a cluster is up already\n"

    status = make("cluster-status")
    assert status.status == 0, status.err
    for part in ("etcd", "kube-apiserver", "kubelet", "coredns", "workflow-controller", "minio"):
        assert part in status.out
    nodes = in_cluster("kubectl", "get", "nodes", "--no-headers")
    assert nodes.out.split()[1] == "Ready"
    assert in_cluster("sh", "-c", "exit 7").status == 7

    down = make("cluster-down")
    assert down.status == 0, down.err
    assert down.out.startswith("down in ")
    assert make("cluster-status").out == "down\n"
