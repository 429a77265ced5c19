"""The queue coalesces hints and never gives one key to two workers."""

import asyncio
from datetime import timedelta

from nexus_operator.reconcile.queue import URGENT_IN_TURN, KeyedQueue


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


async def test_urgent_keys_go_first_each_lane_in_its_order() -> None:
    queue: KeyedQueue[str] = KeyedQueue()
    queue.add("old")
    queue.add("older")
    queue.add("new", urgent=True)
    queue.add("newer", urgent=True)
    assert queue.urgent()
    assert [await queue.get() for _ in range(4)] == ["new", "newer", "old", "older"]
    assert not queue.urgent()


async def test_urgent_keys_starve_no_other() -> None:
    queue: KeyedQueue[int] = KeyedQueue()
    queue.add(-1)
    queue.add(-2)
    for number in range(10 * URGENT_IN_TURN):
        queue.add(number, urgent=True)
    got = [await queue.get() for _ in range(2 * URGENT_IN_TURN + 2)]
    assert [key for key in got if key < 0] == [-1, -2]
    assert [key for key in got if key >= 0] == list(range(2 * URGENT_IN_TURN))


async def test_a_key_stands_in_one_lane_only() -> None:
    queue: KeyedQueue[str] = KeyedQueue()
    queue.add("a")
    queue.add("a", urgent=True)
    assert len(queue) == 1
    assert await queue.get() == "a"
    assert len(queue) == 0
    assert not queue.urgent()
