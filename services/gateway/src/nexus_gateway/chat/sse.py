"""Server-sent events as OpenAI's streams use them: `data:` lines, a blank line between."""

from __future__ import annotations

from typing import Any

import orjson

DONE = b"data: [DONE]\n\n"
MAX_EVENT = 4 * 1024 * 1024


class MalformedStream(Exception):
    """The upstream's event stream cannot be understood."""


class EventBuffer:
    """Cuts bytes into whole events, whatever the pieces they come in."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the events that are complete now, without their blank lines.

        Raises MalformedStream when one grows beyond all measure.
        """
        if self._rest:
            data = self._rest + data
        if b"\r" in data:
            held = data.endswith(b"\r")  # its line feed may be in the next piece
            data = data[: len(data) - held].replace(b"\r\n", b"\n") + b"\r" * held
        *events, self._rest = data.split(b"\n\n")
        if len(self._rest) > MAX_EVENT:
            raise MalformedStream(f"an event is longer than {MAX_EVENT} bytes")
        return [event for event in events if event]


def payload_of(event: bytes) -> bytes:
    """Return what an event's data lines carry, b"" for comments.

    Old llama.cpp servers write a failure as an `error:` line: it counts as data.
    """
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    lines = [
        line.partition(b":")[2].removeprefix(b" ")
        for line in event.split(b"\n")
        if line.startswith((b"data:", b"error:"))
    ]
    return b"\n".join(lines)


def event_of(payload: Any) -> bytes:
    """Return one event that carries a value as JSON."""
    return b"data: " + orjson.dumps(payload) + b"\n\n"
