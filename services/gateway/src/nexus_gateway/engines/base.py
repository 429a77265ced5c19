"""What every engine looks like to the hot path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

Json = dict[str, Any]


class Reply(Protocol):
    """A runtime's answer as it comes: OpenAI's JSON, or its event stream."""

    @property
    def status(self) -> int:
        """HTTP status of the answer."""

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        """Its headers, names in lower case."""

    async def next_chunk(self, idle_timeout: float | None) -> bytes:
        """Return all bytes at hand, waiting for the first; b"" at the end.

        Raises UpstreamBroken, TimeoutError (after `idle_timeout` seconds; None: never).
        """

    async def read(self, *, limit: int, idle_timeout: float | None) -> bytes:
        """Return the whole body.  Raises UpstreamBroken when it is longer than `limit` bytes."""

    def close(self) -> None:
        """End it: a runtime that is still at work is told to stop.  Safe to repeat."""


class Upstream(Protocol):
    """One model of one runtime."""

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from other models, for caches."""

    async def send(self, path: str, body: Json, headers: Mapping[str, str]) -> Reply:
        """Ask the model, in OpenAI's form; return once it has begun to answer.

        `path` is `/v1/chat/completions` or `/v1/completions`.
        Raises UpstreamUnreachable, UpstreamBroken, TimeoutError, GatewayError (a refusal).
        """

    async def count(self, text: str, within: float, /) -> int | None:
        """Return a text's tokens by the model's own tokenizer; None when it does not say.

        Raises UpstreamUnreachable, UpstreamBroken, TimeoutError (after `within` seconds),
        ValueError (nonsense).
        """
