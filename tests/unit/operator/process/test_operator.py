"""One operator as a whole: how it stands by, and how it stops."""

import asyncio
import contextlib

import pytest

from nexus_operator.cluster.connection import Connection
from nexus_operator.process.lease import Lease
from nexus_operator.process.operator import Operator
from nexus_operator.process.options import parse_options


async def test_a_standby_stops_although_a_connection_that_breaks_hides_its_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = asyncio.Event()

    async def acquire(_lease: Lease) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            waiting.set()
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def frame(_operator: Operator, _halt: asyncio.Event) -> None:
        raise AssertionError("it is not its turn")

    monkeypatch.setattr("nexus_operator.ending.CANCEL_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(Lease, "acquire", acquire)
    stop = asyncio.Event()
    operator = Operator(parse_options([]), Connection(server="http://127.0.0.1"))
    running = asyncio.create_task(operator.run(frame, stop))
    await waiting.wait()
    stop.set()
    async with asyncio.timeout(10):
        await running
