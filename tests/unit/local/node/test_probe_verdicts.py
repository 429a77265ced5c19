"""Thresholds of probes and waits between restarts, as laws."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_local.node.backoff import Backoff
from nexus_local.node.probes import Timing, Verdict, check_of


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 4), st.integers(1, 4))
def test_verdict_follows_the_last_run_that_reached_its_threshold(
    results: list[bool], successes: int, failures: int
) -> None:
    verdict = Verdict(Timing(successes=successes, failures=failures))
    expected: bool | None = None
    for number, success in enumerate(results, 1):
        before = verdict.passing
        changed = verdict.count(success=success)
        run = results[:number][::-1]
        length = next((i for i, other in enumerate(run) if other != success), len(run))
        if length >= (successes if success else failures):
            expected = success
        assert verdict.passing is expected
        assert changed is (before is not expected)


def test_timing_has_the_defaults_of_kubernetes() -> None:
    assert Timing.of({}) == Timing(0, 10, 1, 1, 3)
    assert Timing.of({"periodSeconds": 2, "failureThreshold": 9}) == Timing(0, 2, 1, 1, 9)


@pytest.mark.parametrize(
    ("probe", "says"),
    [
        ({"httpGet": {"port": "grpc"}}, "port grpc"),
        ({"tcpSocket": {"port": 81}}, "port 81"),
        ({"httpGet": {"port": 80, "path": "/a\r\nX: y"}}, "path"),
        ({}, "needs httpGet, tcpSocket or exec"),
    ],
)
def test_probe_that_cannot_work_says_why(probe: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_of(probe, {80: 20000, "http": 20000}, lambda _: pytest.fail("no command was given"))


@given(st.integers(1, 1000), st.floats(0.01, 10), st.floats(10, 1000))
def test_waits_grow_to_the_cap(ends: int, first: float, cap: float) -> None:
    backoff = Backoff(first, cap)
    assert backoff.delay(1) == 0
    assert backoff.delay(ends) <= backoff.delay(ends + 1) <= cap
    assert backoff.delay(60) == cap


def test_long_run_is_forgiven() -> None:
    backoff = Backoff(forgiven_after=120)
    assert backoff.ends(5, 121) == 1
    assert backoff.ends(5, 3) == 6
