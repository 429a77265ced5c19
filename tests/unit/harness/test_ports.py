"""Ports for the servers of tests: which are free, and on which somebody listens."""

import socket

import pytest
from ports import HOST, free_port, free_ports, listens


class MeetsItself(socket.socket):
    """A client that the kernel gives the very port it asks for as its own.

    It may do so whenever that port lies in the range for outgoing calls and nobody listens on it:
    the two ends of the connection are then one socket.
    """

    def connect(self, address: tuple[str, int]) -> None:  # type: ignore[override]
        self.bind(address)
        super().connect(address)

    def connect_ex(self, address: tuple[str, int]) -> int:  # type: ignore[override]
        self.bind(address)
        return super().connect_ex(address)


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


def test_nobody_listens_where_a_client_met_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", MeetsItself)
        assert not listens(port)
    with socket.socket() as server:  # as one that does not reuse addresses
        server.bind((HOST, port))
