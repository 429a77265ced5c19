"""gRPC channels by address, one request at a time on each.

HTTP/2 would carry all requests over one connection, and a Service's address is resolved once for
each connection: every request would then go to the same pod for ever.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import Any
from weakref import WeakKeyDictionary

import grpc
from tritonclient.grpc.aio import InferenceServerClient

from nexus_gateway.upstream.pool import LONGEST_USE, Origin

IDLE_SECONDS = 30.0
IDLE_PER_ORIGIN = 32
MAX_MESSAGE = 64 * 1024 * 1024
OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_retries", 0),  # a generation is never asked for twice
    ("grpc.enable_http_proxy", 0),
]


class Channels:
    """Open channels, given out and taken back."""

    def __init__(self) -> None:
        self._idle: dict[Origin, deque[tuple[float, Any]]] = {}
        self._until: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    def take(self, origin: Origin) -> Any:
        """Return a client for this caller alone, to be given back with `give`."""
        idle, now = self._idle.get(origin), asyncio.get_running_loop().time()
        while idle:
            since, client = idle.pop()
            if now - since < IDLE_SECONDS and _connected(client):
                return client
            self._drop(client)
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        client = InferenceServerClient(
            f"{host}:{origin.port}", ssl=origin.tls, channel_args=list(OPTIONS)
        )
        self._until[client] = now + LONGEST_USE * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        return client

    def give(self, origin: Origin, client: Any, *, sound: bool) -> None:
        """Take a client back; one that is not sound is closed."""
        idle = self._idle.setdefault(origin, deque())
        now = asyncio.get_running_loop().time()
        full = len(idle) >= IDLE_PER_ORIGIN
        if not sound or full or self._closed or now >= self._until[client]:
            self._drop(client)
        else:
            idle.append((now, client))

    async def close(self) -> None:
        """Close what is idle and keep nothing from now on."""
        self._closed = True
        for idle in self._idle.values():
            for _, client in idle:
                self._drop(client)
        self._idle.clear()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _drop(self, client: Any) -> None:
        task = asyncio.ensure_future(client.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _connected(client: Any) -> bool:
    """Tell whether a client still has the connection that it had.

    gRPC would make another by itself, perhaps to a pod of another revision.
    """
    channel: grpc.aio.Channel = client._channel  # noqa: SLF001 - there is no other way to it
    return channel.get_state() is grpc.ChannelConnectivity.READY
