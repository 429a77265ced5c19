"""Ports on loopback: those that are free, and connections to those where nobody listens."""

import asyncio
import errno
import random
import socket
import struct

HOST = "127.0.0.1"
_FIRST, _LAST = 20000, 32767  # below the range from which the kernel takes ports for outgoing calls
_RESET = struct.pack("ii", 1, 0)  # closed otherwise, a port stays taken for a minute


class Ports:
    """Hands out free loopback ports, none twice at a time."""

    def __init__(self) -> None:
        """Begin anywhere, so that two platforms on one machine seldom try the same port."""
        self._next = random.randint(_FIRST, _LAST)  # noqa: S311 - spreads, guards nothing
        self._taken: set[int] = set()

    def take(self) -> int:
        """Reserve a free port; raises OSError when there is none."""
        for _ in range(_LAST - _FIRST + 1):
            port = self._next
            self._next = _FIRST if port == _LAST else port + 1
            if port not in self._taken and is_free(port):
                self._taken.add(port)
                return port
        raise OSError(errno.EADDRINUSE, f"no port from {_FIRST} to {_LAST} is free on {HOST}")

    def give_back(self, port: int) -> None:
        """End a reservation."""
        self._taken.discard(port)


def is_free(port: int) -> bool:
    """Say whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def refuse_itself(transport: asyncio.BaseTransport) -> None:
    """Cut a connection that a client has with itself.  Raises ConnectionRefusedError.

    Where nobody listens on a port within the range for outgoing calls, the kernel may give a
    client the very port that it calls: it would hear what it says, and keep the server out.
    """
    own = transport.get_extra_info("sockname")
    if own != transport.get_extra_info("peername"):
        return
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.close()
    raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {own[0]}:{own[1]}")
