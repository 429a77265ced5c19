"""Clients that the kernel gives, as their own, the very port that they ask for.

It may do so whenever that port lies in the range for outgoing calls and nobody listens on it: both
ends of the connection are then one socket, which hears what it says.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def meeting_themselves(port: int) -> Iterator[None]:
    """Have every client that calls the port of loopback be given that port."""

    class Client(socket.socket):
        def connect(self, address: Any, /) -> None:
            self._take(address)
            super().connect(address)

        def connect_ex(self, address: Any, /) -> int:
            self._take(address)
            return super().connect_ex(address)

        def _take(self, address: Any) -> None:
            if address == ("127.0.0.1", port):
                self.bind(address)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(socket, "socket", Client)
        yield


def can_be_taken(port: int) -> bool:
    """Say whether a server that does not reuse addresses could have the port now."""
    with socket.socket() as server:
        try:
            server.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
