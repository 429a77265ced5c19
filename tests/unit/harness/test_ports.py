"""Ports for the servers of tests: which are free, and on which somebody listens."""

import socket

from ports import HOST, free_port, free_ports, listens
from self_connection import can_be_taken, meeting_themselves


def test_ports_that_are_taken_together_differ() -> None:
    ports = free_ports(200)
    assert len(set(ports)) == len(ports) == 200


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
