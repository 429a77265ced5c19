"""The queue coalesces hints and never gives one key to two workers."""

import asyncio
from datetime import timedelta

from nexus_operator.reconcile.queue import KeyedQueue


async def test_hints_coalesce() -> None:
    queue: KeyedQueue[str] = KeyedQueue()
    for _ in range(100):
        queue.add("a")
    queue.add("b")
    assert len(queue) == 2
    assert [await queue.get(), await queue.get()] == ["a", "b"]


async def test_key_added_while_worked_on_comes_again_and_not_earlier() -> None:
    queue: KeyedQueue[str] = KeyedQueue()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert len(queue) == 1
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_delayed_key_comes_at_the_earliest_time_asked_for() -> None:
    queue: KeyedQueue[str] = KeyedQueue()
    queue.add_after("a", timedelta(hours=1))
    queue.add_after("a", timedelta(milliseconds=1))
    queue.add_after("a", timedelta(hours=2))
    async with asyncio.timeout(10):
        assert await queue.get() == "a"
    queue.close()


async def test_key_that_came_is_not_handed_out_a_second_time_by_its_timer() -> None:
    queue: KeyedQueue[str] = KeyedQueue()
    queue.add_after("a", timedelta(milliseconds=1))
    queue.add("a")
    assert await queue.get() == "a"
    queue.done("a")
    queue.add_after("b", timedelta(milliseconds=20))
    async with asyncio.timeout(10):
        assert await queue.get() == "b"
    assert len(queue) == 0


async def test_closed_queue_forgets_its_timers() -> None:
    queue: KeyedQueue[str] = KeyedQueue()
    queue.add_after("a", timedelta(milliseconds=1))
    queue.close()
    queue.add_after("b", timedelta(milliseconds=5))
    async with asyncio.timeout(10):
        assert await queue.get() == "b"
