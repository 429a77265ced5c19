"""What is read off a pod whose container fails again and again."""

from typing import Any

import pytest

from nexus_operator.status.failure import Failure
from nexus_operator.status.pods import trouble

ENDED = {
    "exitCode": 1,
    "reason": "Error",
    "startedAt": "2026-01-31T12:00:00Z",
    "finishedAt": "2026-01-31T12:00:01Z",
    "message": "fetching\nno such model.\n",
}
BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
STARTING = {"waiting": {"reason": "ContainerCreating"}}
RUNNING = {"running": {"startedAt": "2026-01-31T12:00:11Z"}}
FAILS = Failure(
    "CrashLoopBackOff",
    "container `llamacpp` of pod a keeps ending with exit code 1: no such model",
)


def pod(state: dict[str, Any], restarts: int, *, ready: bool = False, **ended: Any) -> Any:
    container = {
        "name": "llamacpp",
        "ready": ready,
        "restartCount": restarts,
        "state": state,
        "lastState": {} if "terminated" in state else {"terminated": {**ENDED, **ended}},
    }
    return {"metadata": {"name": "a"}, "status": {"containerStatuses": [container]}}


@pytest.mark.parametrize("state", [BACK_OFF, STARTING, RUNNING, {"terminated": ENDED}])
def test_the_reason_stays_from_one_try_to_the_next(state: dict[str, Any]) -> None:
    assert trouble(None, [pod(state, 2)]) == FAILS


@pytest.mark.parametrize(
    "seen",
    [
        pod(RUNNING, 1),
        pod(RUNNING, 5, ready=True),
        pod(RUNNING, 5, exitCode=0, message=""),
        pod(RUNNING, 5, finishedAt="2026-01-31T12:10:00Z"),
    ],
)
def test_a_container_that_starts_once_more_is_no_trouble(seen: Any) -> None:
    assert trouble(None, [seen]) is None


def test_a_server_that_its_probe_told_to_end_says_why() -> None:
    words = "assistant: the first question was not answered: the answer is empty"
    found = trouble(None, [pod(RUNNING, 2, exitCode=0, message=words)])
    assert found == Failure(
        "CrashLoopBackOff",
        f"container `llamacpp` of pod a keeps ending with exit code 0: {words}",
    )


def test_of_a_long_line_the_end_is_told() -> None:
    found = trouble(None, [pod(BACK_OFF, 2, message="x" * 900 + " the end")])
    assert found is not None
    assert found.message.endswith("x the end")
    assert len(found.message) < 400
