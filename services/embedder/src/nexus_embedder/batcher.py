"""Concurrent requests through one encoder, a token budget at a time."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from nexus_embedder.encoder import Vectors
from nexus_embedder.errors import QueueFull
from nexus_embedder.schedule import Place, Request, Schedule
from nexus_embedder.tokens import Ids

BATCH_TOKENS = 512  # more costs memory and cache misses, and questions would wait longer
QUEUE_TOKENS = 1_000_000  # some minutes of work: more waiting than that helps nobody

BatchSeen = Callable[[int, int, float], None]
"""Told of each batch: sequences, tokens without padding, seconds."""


class BatchEncoder(Protocol):
    """What computes a batch: float32 [n, dimension]."""

    def embed(self, batch: Sequence[Ids]) -> Vectors: ...


class Batcher:
    """Queue in front of an encoder.  Start `run` as a task; `embed` waits for the vectors."""

    def __init__(
        self,
        encoder: BatchEncoder,
        *,
        batch_tokens: int = BATCH_TOKENS,
        queue_tokens: int = QUEUE_TOKENS,
        seen: BatchSeen = lambda *_: None,
    ) -> None:
        self._encoder = encoder
        self._schedule = Schedule(budget=batch_tokens)
        self._limit = queue_tokens
        self._seen = seen
        self._work = asyncio.Event()
        self._done: dict[Request, tuple[asyncio.Future[Vectors], list[Vectors | None]]] = {}

    @property
    def waiting_tokens(self) -> int:
        """Tokens of requests that no batch has taken yet."""
        return self._schedule.tokens

    async def embed(self, sequences: list[Ids]) -> Vectors:
        """Embed the sequences of one request: float32 [n, dimension], in their order.

        Raises:
            QueueFull: too much is waiting already.
        """
        tokens = sum(len(ids) for ids in sequences)
        if self._schedule.tokens and self._schedule.tokens + tokens > self._limit:
            raise QueueFull(
                f"{self._schedule.tokens} tokens are waiting to be embedded; try again later"
            )
        request = self._schedule.add(sequences, time.monotonic())
        future: asyncio.Future[Vectors] = asyncio.get_running_loop().create_future()
        self._done[request] = (future, [None] * len(sequences))
        self._work.set()
        try:
            return await future
        finally:
            self._schedule.drop(request)
            del self._done[request]

    async def run(self) -> None:
        """Embed batches for ever; cancel the task to stop."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix="encoder") as thread:
            while True:
                await self._work.wait()
                batch = self._schedule.next_batch()
                if not batch:
                    self._work.clear()
                    continue
                began = time.monotonic()
                try:
                    vectors = await loop.run_in_executor(
                        thread, self._encoder.embed, [place.ids for place in batch]
                    )
                except Exception as error:  # noqa: BLE001  whatever failed, its callers are told
                    self._fail(batch, error)
                else:
                    tokens = sum(len(place.ids) for place in batch)
                    self._seen(len(batch), tokens, time.monotonic() - began)
                    self._deliver(batch, vectors)

    def _deliver(self, batch: list[Place], vectors: Vectors) -> None:
        for place, vector in zip(batch, vectors, strict=True):
            future, parts = self._done.get(place.request, (None, []))
            if future is None or future.done():
                continue
            parts[place.position] = vector
            if not place.request.waiting and all(part is not None for part in parts):
                future.set_result(np.stack([part for part in parts if part is not None]))

    def _fail(self, batch: list[Place], error: Exception) -> None:
        for request in {place.request for place in batch}:
            with contextlib.suppress(KeyError):
                future, _ = self._done[request]
                if not future.done():
                    future.set_exception(error)
            self._schedule.drop(request)
