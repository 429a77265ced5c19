"""Ports for the servers of tests: which are free, and on which somebody listens."""

import json
import os
import socket
import subprocess
import sys

from ports import HOST, free_port, free_ports, listens
from self_connection import can_be_taken, meeting_themselves

from nexus_local.node import ports as platform

ALL_OF_A_WORKER = "import json, ports; print(json.dumps(list(ports._PORTS)))"


def test_ports_that_are_taken_together_differ() -> None:
    ports = free_ports(200)
    assert len(set(ports)) == len(ports) == 200


def test_two_workers_and_a_platform_never_choose_the_same_port() -> None:
    """Each of them binds a port some time after it found it free."""
    first, second = (ports_of(f"gw{number}") for number in range(2))
    assert len(first) == len(second) > 1000
    assert not first & second
    assert max(first | second) < platform._FIRST


def ports_of(worker: str) -> set[int]:
    told = {"PYTEST_XDIST_WORKER": worker, "PYTEST_XDIST_WORKER_COUNT": "2"}
    path = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", ALL_OF_A_WORKER]
    environment = {**os.environ, **told, "PYTHONPATH": path}
    return set(json.loads(subprocess.check_output(command, env=environment)))


def test_a_port_is_free_for_a_server() -> None:
    with socket.create_server((HOST, free_port())):
        pass


def test_a_server_listens_until_it_ends() -> None:
    port = free_port()
    assert not listens(port)
    with socket.create_server((HOST, port)):
        assert listens(port)
    assert not listens(port)


def test_nobody_listens_where_a_client_met_itself() -> None:
    port = free_port()
    with meeting_themselves(port):
        assert not listens(port)
    assert can_be_taken(port)
