"""Renders chat templates in a process of its own.

A template is a program of somebody else's.  Jinja's sandbox keeps it from the gateway's objects,
but not from loops without an end, nor from texts that fill the memory; the kernel ends a process
that takes too much of either.  Run as a script, with an empty environment: it imports nothing of
the gateway.  Requests and answers are JSON, each after its length in four bytes.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import struct
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from jinja2 import Template
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

CPU_SECONDS = 1.0
MEMORY = 384 << 20
"""A prompt of 8 MiB with letters of four bytes takes two thirds of it."""

LENGTH = struct.Struct("!I")
_MOST_SAID = 500  # characters of a message, which a template may write itself


class Refusal(Exception):
    """The template does not take these messages."""


class Generation(Extension):
    """`{% generation %}` marks, for trainers, what the assistant says."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own way

    def parse(self, parser: Any) -> Any:
        """Return what stands between the tags."""
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def main() -> None:
    """Answer until the input ends."""
    for what, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(OSError, ValueError):  # not every system has both
            resource.setrlimit(what, (most, most))
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while head := source.read(LENGTH.size):
        asked = json.loads(source.read(*LENGTH.unpack(head)))
        # SIGPROF ends the process, also amid one long operation.
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        said = json.dumps(_answer(asked), ensure_ascii=False).encode()
        signal.setitimer(signal.ITIMER_PROF, 0)
        target.write(LENGTH.pack(len(said)) + said)
        target.flush()


def _answer(asked: Mapping[str, Any]) -> Mapping[str, str]:
    try:
        try:
            text = _rendered(asked)
        except MemoryError:
            _compiled.cache_clear()  # templates of others may have taken it
            text = _rendered(asked)
    except Refusal as error:
        return {"refused": _said(error)}
    except Exception as error:  # noqa: BLE001 - a program of somebody else's: it may raise anything
        return {"broken": _said(error)}
    return {"text": text}


def _rendered(asked: Mapping[str, Any]) -> str:
    text = _compiled(asked["template"]).render(asked["values"])
    text.encode()  # half a surrogate pair cannot be sent on
    return text


def _said(error: Exception) -> str:
    text = str(error)[:_MOST_SAID] or type(error).__name__
    return text.encode(errors="replace").decode()


@lru_cache(maxsize=32)
def _compiled(template: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[loopcontrols, Generation],
        autoescape=False,  # a prompt, never HTML
    )
    environment.globals["raise_exception"] = _refuse
    environment.filters["tojson"] = _json  # Jinja's own writes for HTML
    environment.globals["strftime_now"] = lambda form: datetime.now(UTC).strftime(form)
    return environment.from_string(template)


def _json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> None:
    raise Refusal(message)


if __name__ == "__main__":
    main()
