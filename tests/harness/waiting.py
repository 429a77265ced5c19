"""Waits for what has no event to wait for."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    look: Callable[[], T],
    *,
    what: str,
    seconds: float = 180,
    pause: float = 0.1,
    despite: tuple[type[Exception], ...] = (),
) -> T:
    """Return the first truthy answer of `look`; fails the test when none comes in time.

    It is asked at least once, and `pause` seconds after each answer.  Errors of the kinds in
    `despite` say that it is too early yet; any other ends the wait.
    """
    end = time.monotonic() + seconds
    while True:
        seen: T | Exception
        try:
            seen = answer = look()
            if answer:
                return answer
        except despite as error:
            seen = error
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}; last saw {seen!r}")
        time.sleep(pause)
