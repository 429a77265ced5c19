"""Ports of loopback for the servers that tests start: which are free, and where one listens."""

import os
import random
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import islice

HOST = "127.0.0.1"
_ALL = range(10_000, 20_000)
"""Neither those for outgoing calls, as Linux has them by default, nor those of `nexus up`."""
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = _ALL[_WORKER :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]
_RANDOM = random.Random()  # two runs of the tests at a time draw different ones
_given: set[int] = set()
_SECONDS = 0.5
_RESET = struct.pack("ii", 1, 0)  # closed otherwise, a port stays taken for a minute


def free_port() -> int:
    """Return a port that is free now."""
    (port,) = free_ports(1)
    return port


def free_ports(count: int) -> list[int]:
    """Return ports that are free now, held together so that they differ.

    A server binds its port some time after it was chosen.  So it is one that the kernel gives to no
    outgoing call meanwhile, that no platform on this machine takes, and that neither this worker of
    pytest nor another has given to another server.
    """
    with ExitStack() as stack:
        return list(islice(_held(stack), count))


def _held(stack: ExitStack) -> Iterator[int]:
    for port in _RANDOM.sample(_PORTS, len(_PORTS)):
        one = stack.enter_context(socket.socket())
        with suppress(OSError):  # somebody listens there
            if port not in _given:
                one.bind((HOST, port))
                _given.add(port)
                yield port
    raise AssertionError(f"no port of loopback is free in {_PORTS}")


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
