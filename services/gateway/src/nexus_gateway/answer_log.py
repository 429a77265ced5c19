"""Answers given, written to the ledger beside the work, never in its way."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from nexus_gateway.errors import GatewayError
from nexus_gateway.knowledge import Knowledge
from nexus_gateway.metrics import Metrics
from nexus_knowledge.errors import KnowledgeError
from nexus_knowledge.ledger import Response

LOG = logging.getLogger(__name__)
WAITING = 1000
DRAIN_SECONDS = 5.0
FLUSH_SECONDS = 2.0


class AnswerLog:
    """A queue of answers before the ledger; when it is full, answers go unlogged and counted."""

    def __init__(self, knowledge: Knowledge, metrics: Metrics) -> None:
        self._knowledge = knowledge
        self._metrics = metrics
        self._queue: asyncio.Queue[Response] = asyncio.Queue(WAITING)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._write())

    async def stop(self) -> None:
        """Write what is waiting, for 5 s at most, then stop."""
        if self._task is None:
            return
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._queue.join()
        except TimeoutError:
            LOG.warning("%d answers were not logged before the end", self._queue.qsize())
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def put(self, response: Response) -> None:
        """Have an answer written soon.  Never waits."""
        try:
            self._queue.put_nowait(response)
        except asyncio.QueueFull:
            self._metrics.log_dropped.inc()

    async def flush(self) -> None:
        """Return when what was put before is written, after 2 s at the latest."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._queue.join()

    async def _write(self) -> None:
        while True:
            response = await self._queue.get()
            began = time.perf_counter()
            try:
                ledger = self._knowledge.ledger
                await self._knowledge.run(lambda: ledger.log_response(response))  # noqa: B023 - awaited at once
            except (GatewayError, KnowledgeError) as error:
                self._metrics.log_dropped.inc()
                LOG.warning("an answer was not logged: %s", error)
            except Exception:  # whatever a runtime called an answer, the next ones are logged
                self._metrics.log_dropped.inc()
                LOG.exception("an answer was not logged")
            finally:
                self._queue.task_done()
            # Half the time of one thread at most: under a flood answers matter more than their log.
            await asyncio.sleep(time.perf_counter() - began)
