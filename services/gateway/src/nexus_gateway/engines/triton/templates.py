"""Has chat templates rendered beside the gateway, and ends those that take too much."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import orjson

from nexus_gateway.engines.triton import template_program
from nexus_gateway.engines.triton.template_program import CPU_SECONDS, LENGTH
from nexus_gateway.errors import BadRequest, UpstreamError

WAIT_SECONDS = 20.0
"""How long an answer may take by the clock: the program bounds its own computing."""

END_SECONDS = 5.0
"""How long a process that closed its output may take to be gone."""

REST_SECONDS = 30.0
"""How long a model is refused whose template was ended, so that others need not wait for it."""

_COMMAND = (sys.executable, "-I", str(Path(template_program.__file__)))
_ENDED = f"it takes more than {CPU_SECONDS:g} s of computing"
_LARGEST = 1 << 20
"""Characters of a template; they are a few thousand."""


class Templates:
    """One process that renders, one template after another; started on first use."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._refused: dict[Hashable, float] = {}
        self._under_way: set[asyncio.Task[str]] = set()
        self._closed = False

    async def render(self, whose: Hashable, template: str, values: Mapping[str, Any]) -> str:
        """Return the text that a template makes of values; `whose` names the model.

        Raises BadRequest (the template refuses the values), UpstreamError (it is broken).
        """
        if len(template) > _LARGEST:
            raise _broken(f"it is longer than {_LARGEST:,} characters")
        # Whoever stops waiting must not leave half an answer for the next one.
        task = asyncio.ensure_future(self._in_turn(whose, template, values))
        self._under_way.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """End the process, and what is asked of it."""
        self._closed = True
        await self._end()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._end()

    async def _in_turn(self, whose: Hashable, template: str, values: Mapping[str, Any]) -> str:
        asked = orjson.dumps({"template": template, "values": values})
        async with self._turn:
            now = asyncio.get_running_loop().time()
            if now < self._refused.get(whose, now):
                raise _broken(_ENDED)
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    said = orjson.loads(await self._exchange(asked))
            except TimeoutError:
                await self._end()
                raise _broken(f"no answer came within {WAIT_SECONDS:g} s") from None
            except (OSError, EOFError):
                if await self._ended() != -signal.SIGPROF:
                    raise _broken("the process that renders it ended") from None
                self._refused = {one: until for one, until in self._refused.items() if until > now}
                self._refused[whose] = asyncio.get_running_loop().time() + REST_SECONDS
                raise _broken(_ENDED) from None
        if "refused" in said:
            raise BadRequest(
                f"the model's chat template refuses the messages: {said['refused']}",
                param="messages",
            )
        if "broken" in said:
            raise _broken(said["broken"])
        text: str = said["text"]
        return text

    async def _exchange(self, asked: bytes) -> bytes:
        """Raises EOFError and OSError when the process ends."""
        process = await self._running()
        if process.stdin is None or process.stdout is None:
            raise EOFError
        process.stdin.write(LENGTH.pack(len(asked)) + asked)
        await process.stdin.drain()
        (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
        return await process.stdout.readexactly(length)

    async def _running(self) -> Process:
        if self._closed:
            raise _broken("the gateway is stopping")
        if self._process is None or self._process.returncode is not None:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *_COMMAND, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={}
                )
            except OSError as error:
                raise _broken(f"no process for it can be started: {error}") from error
        return self._process

    async def _ended(self) -> int | None:
        """Return how the process ended that answers no more, None where it had to be ended.

        To kill what is ending by itself would make its exit code unknown to asyncio.
        """
        process = self._process
        code: int | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                code = await process.wait() if process else None
        await self._end()
        return code

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    def _done(self, task: asyncio.Task[str]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # taken note of, though nobody may wait any more


def _broken(why: str) -> UpstreamError:
    return UpstreamError(f"the model's chat template cannot be rendered: {why}")
