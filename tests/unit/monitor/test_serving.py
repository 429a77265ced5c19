"""What the monitor answers to kubelet and Prometheus."""

import socket

import httpx
import pytest

from nexus_monitor.metrics import Metrics
from nexus_monitor.serving import served


def test_a_look_that_failed_makes_it_unready_and_nothing_else() -> None:
    wrong = "the last look failed"
    metrics = Metrics()
    metrics.looks.labels("failed").inc()
    with (
        served("127.0.0.1", 0, metrics.registry, lambda: wrong) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        unready = client.get("/readyz")
        assert (unready.status_code, unready.text) == (503, f"{wrong}\n")
        assert client.get("/healthz").status_code == 200
        wrong = ""
        assert client.get("/readyz").status_code == 200
        said = client.get("/metrics")
        assert 'nexus_monitor_looks_total{result="failed"} 1.0' in said.text
        assert said.headers["content-type"].startswith("text/plain")
        assert client.get("/").status_code == 404


def test_a_port_that_is_taken_is_an_error() -> None:
    registry = Metrics().registry
    with served("127.0.0.1", 0, registry, str) as port, pytest.raises(OSError, match=r"in use"):
        served("127.0.0.1", port, registry, str).__enter__()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_an_address_of_ipv6_is_listened_on() -> None:
    with served("::1", 0, Metrics().registry, str) as port:
        assert httpx.get(f"http://[::1]:{port}/healthz", trust_env=False).status_code == 200
