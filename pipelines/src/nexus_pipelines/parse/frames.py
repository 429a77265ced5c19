"""Messages between a step and its parsing processes: JSON with its length, open files."""

import json
import socket
import struct
import time
from typing import Any

_LENGTH = struct.Struct("!Q")
_MAX_REQUEST = 64 * 1024


class FrameError(Exception):
    """The other side closed in mid-message, or announced more than may be sent."""


def send(channel: socket.socket, message: Any) -> None:
    """Send one JSON message."""
    body = json.dumps(message, separators=(",", ":")).encode()
    channel.sendall(_LENGTH.pack(len(body)) + body)


def receive(channel: socket.socket, *, limit: int, deadline: float) -> Any:
    """Receive one JSON message of at most `limit` bytes before `deadline` (monotonic seconds).

    Raises:
        FrameError: closed, damaged or too long.
        TimeoutError: the deadline passed.
    """
    (length,) = _LENGTH.unpack(_exactly(channel, _LENGTH.size, deadline))
    if length > limit:
        raise FrameError(f"a message of {length} bytes, {limit} are allowed")
    try:
        return json.loads(_exactly(channel, length, deadline))
    except ValueError as error:
        raise FrameError(f"not JSON: {error}") from error


def send_with_file(channel: socket.socket, message: Any, descriptor: int) -> None:
    """Send a short JSON message together with an open file."""
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > _MAX_REQUEST:
        raise FrameError(f"a request of {len(body)} bytes, {_MAX_REQUEST} are allowed")
    socket.send_fds(channel, [body], [descriptor])


def receive_with_file(channel: socket.socket) -> tuple[Any, int] | None:
    """Receive what `send_with_file` sent; None when the other side is gone.

    One request is under way at a time, so what one call reads is one whole message.
    """
    body, descriptors, _, _ = socket.recv_fds(channel, _MAX_REQUEST, 1)
    if not body or not descriptors:
        return None
    return json.loads(body), descriptors[0]


def _exactly(channel: socket.socket, length: int, deadline: float) -> bytes:
    parts: list[bytes] = []
    while length:
        channel.settimeout(max(0.001, deadline - time.monotonic()))
        part = channel.recv(min(length, 1 << 20))
        if not part:
            raise FrameError("the other side closed")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
