import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nexus_embedder.schedule import LIKENESS, Schedule

BUDGET = 64
lengths = st.lists(st.integers(1, 100), min_size=1, max_size=12)


def ids(length: int) -> np.ndarray:
    return np.ones(length, dtype=np.int64)


@given(st.lists(lengths, min_size=1, max_size=6))
def test_every_sequence_is_handed_out_once(requests: list[list[int]]) -> None:
    schedule = Schedule(budget=BUDGET)
    made = [schedule.add([ids(n) for n in sizes], now=0.0) for sizes in requests]
    seen = set()
    while batch := schedule.next_batch():
        for place in batch:
            key = (made.index(place.request), place.position)
            assert key not in seen
            seen.add(key)
    assert len(seen) == sum(map(len, requests))
    assert schedule.tokens == 0


@given(st.lists(lengths, min_size=1, max_size=6))
def test_batches_keep_the_budget_and_hold_like_lengths(requests: list[list[int]]) -> None:
    schedule = Schedule(budget=BUDGET)
    for sizes in requests:
        schedule.add([ids(n) for n in sizes], now=0.0)
    while batch := schedule.next_batch():
        sizes = [len(place.ids) for place in batch]
        assert len(batch) == 1 or len(batch) * max(sizes) <= BUDGET
        assert min(sizes) >= LIKENESS * LIKENESS * max(sizes)


def test_question_overtakes_a_shard_that_came_before() -> None:
    schedule = Schedule(budget=BUDGET)
    shard = schedule.add([ids(60)] * 50, now=0.0)
    assert schedule.next_batch()[0].request is shard
    question = schedule.add([ids(8)], now=0.1)
    assert [place.request for place in schedule.next_batch()] == [question]


def test_questions_do_not_starve_a_shard() -> None:
    schedule = Schedule(budget=BUDGET)
    shard = schedule.add([ids(60)], now=0.0)
    schedule.add([ids(8)], now=10.0)
    assert schedule.next_batch()[0].request is shard


def test_dropped_request_is_never_computed() -> None:
    schedule = Schedule(budget=BUDGET)
    request = schedule.add([ids(10)] * 3, now=0.0)
    schedule.drop(request)
    assert schedule.next_batch() == []
    assert schedule.tokens == 0
