import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest

from nexus_embedder.batcher import Batcher
from nexus_embedder.encoder import Vectors
from nexus_embedder.errors import QueueFull
from nexus_embedder.tokens import Ids


class Echo:
    """Gives each sequence its first id as vector, and fails on id 13."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def embed(self, batch: Sequence[Ids]) -> Vectors:
        self.batches.append(len(batch))
        if any(ids[0] == 13 for ids in batch):
            raise RuntimeError("no thirteen")
        return np.array([[float(ids[0])] for ids in batch], dtype=np.float32)


@contextlib.asynccontextmanager
async def running(batcher: Batcher) -> AsyncIterator[Batcher]:
    task = asyncio.create_task(batcher.run())
    try:
        yield batcher
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def ids(first: int, length: int = 4) -> Ids:
    return np.full(length, first, dtype=np.int64)


async def test_vectors_come_back_to_their_callers_in_order() -> None:
    encoder = Echo()
    async with running(Batcher(encoder, batch_tokens=16)) as batcher:
        wanted = [[number * 20 + 100 + i for i in range(7)] for number in range(9)]
        answers = await asyncio.gather(
            *(batcher.embed([ids(n, 1 + n % 6) for n in one]) for one in wanted)
        )
    assert [answer[:, 0].tolist() for answer in answers] == wanted
    assert max(encoder.batches) > 1


async def test_failure_reaches_its_caller_and_the_next_one_is_served() -> None:
    async with running(Batcher(Echo())) as batcher:
        with pytest.raises(RuntimeError, match="no thirteen"):
            await batcher.embed([ids(13)])
        assert (await batcher.embed([ids(7)])).tolist() == [[7.0]]


async def test_queue_that_is_full_says_so() -> None:
    batcher = Batcher(Echo(), queue_tokens=10)
    first = asyncio.create_task(batcher.embed([ids(1, 8)]))
    await asyncio.sleep(0)
    with pytest.raises(QueueFull, match="8 tokens are waiting"):
        await batcher.embed([ids(2, 8)])
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert batcher.waiting_tokens == 0
