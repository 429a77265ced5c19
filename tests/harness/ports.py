"""Ports of loopback for the servers that tests start: which are free, and where one listens."""

import socket
import struct
from contextlib import ExitStack

HOST = "127.0.0.1"
_SECONDS = 0.5
_RESET = struct.pack("ii", 1, 0)  # closed otherwise, a port stays taken for a minute


def free_port() -> int:
    """Return a port that is free now."""
    (port,) = free_ports(1)
    return port


def free_ports(count: int) -> list[int]:
    """Return ports that are free now, held together so that they differ."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in held]


def listens(port: int) -> bool:
    """Say whether a server takes connections there.

    The kernel may give a client the very port that it asks for, where that lies in the range for
    outgoing calls: the client is then connected to itself, though nobody listens.
    """
    with socket.socket() as client:
        client.settimeout(_SECONDS)
        if client.connect_ex((HOST, port)) != 0:
            return False
        if client.getsockname() != (HOST, port):
            return True
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        return False
