"""Retries: how many, after what, how long apart, and what the nodes show of them."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_local.workflows import retry_expressions
from nexus_local.workflows.errors import BadExpression, WorkflowError
from nexus_local.workflows.nodes import Node, NodeType, Phase
from nexus_local.workflows.retry import GiveUp, RetryNow, WaitUntil, attempt_values, next_attempt

from .conftest import START, Platform, Script, dag, later, named, phases, step, writes

TRANSIENT = 'lastRetry.status == "Error" || asInt(lastRetry.exitCode) in [-1, 75, 137, 143]'


def failed(number: int, *, phase: Phase = Phase.FAILED, exit_code: str | None = "1") -> Node:
    began = later(number * 10)
    return Node(
        id=f"wf-{number}",
        name=f"wf({number})",
        type=NodeType.POD,
        phase=phase,
        started_at=began,
        finished_at=began + timedelta(seconds=2),
        outputs={"exitCode": exit_code} if exit_code else None,
        message="why",
    )


async def test_attempts_hang_below_a_retry_node(platform: Platform) -> None:
    platform.runner.plays("a", Script(exit_code=75), Script(outputs={"/tmp/x": "done"}))
    spec = dag(
        {"name": "a", "template": "make"},
        {"name": "b", "depends": "a"},
        templates=(step(), writes("make", "x", retryStrategy={"limit": 3})),
    )
    status = await platform.outcome(spec)
    assert phases(status) == {
        "wf": "Succeeded",
        "a": "Succeeded",
        "a(0)": "Failed",
        "a(1)": "Succeeded",
        "b": "Succeeded",
    }
    retry = named(status, "a")
    assert retry["type"] == "Retry"
    assert retry["outputs"] == named(status, "a(1)")["outputs"]
    assert named(status, "a(0)")["nodeFlag"] == {"retried": True}
    assert named(status, "a(1)")["children"] == [named(status, "b")["id"]]
    assert status["progress"] == "2/3"  # as Argo counts: a failed attempt is never done


async def test_the_last_failure_is_the_node_s(platform: Platform) -> None:
    platform.runner.plays("a", Script(exit_code=4))
    spec = dag({"name": "a"}, templates=(step(retryStrategy={"limit": "2"}),))
    status = await platform.outcome(spec)
    assert platform.runner.started == ["wf.a(0)", "wf.a(1)", "wf.a(2)"]
    assert named(status, "a")["phase"] == "Failed"
    assert named(status, "a")["message"] == "No more retries left"
    assert status["phase"] == "Failed"


@pytest.mark.parametrize(
    ("script", "attempts"),
    [
        (Script(exit_code=75), 3),
        (Script(exit_code=1), 1),
        (Script(exit_code=2), 1),
        (Script(exit_code=137, reason="OOMKilled"), 3),
        (Script(exit_code=None, reason="ErrImageNeverPull"), 3),
    ],
)
async def test_only_what_is_transient_is_tried_again(
    platform: Platform, script: Script, attempts: int
) -> None:
    platform.runner.plays("a", script)
    strategy = {
        "limit": "2",
        "retryPolicy": "Always",
        "expression": TRANSIENT,
        "backoff": {"duration": "1ms", "factor": 2},
    }
    status = await platform.outcome(dag({"name": "a"}, templates=(step(retryStrategy=strategy),)))
    assert len(platform.runner.started) == attempts
    assert named(status, "a")["phase"] == ("Error" if script.exit_code is None else "Failed")


async def test_the_workflow_s_strategy_holds_for_every_template(platform: Platform) -> None:
    platform.runner.plays("a", Script(exit_code=1), Script())
    status = await platform.outcome(dag({"name": "a"}, retryStrategy={"limit": 1}))
    assert status["phase"] == "Succeeded"
    assert status["nodes"]["wf"]["type"] == "Retry"
    assert "wf(0)" in phases(status)


async def test_a_dag_is_retried_as_a_whole(platform: Platform) -> None:
    platform.runner.plays("inner(0).x", Script(exit_code=1))
    inner = {
        "name": "inner",
        "retryStrategy": {"limit": 1},
        "dag": {"tasks": [{"name": "x", "template": "step"}]},
    }
    status = await platform.outcome(
        dag({"name": "inner", "template": "inner"}, templates=(inner, step()))
    )
    assert status["phase"] == "Succeeded"
    assert platform.runner.started == ["wf.inner(0).x", "wf.inner(1).x"]


async def test_a_template_may_ask_which_attempt_it_is(platform: Platform) -> None:
    platform.runner.plays("a", Script(exit_code=9), Script())
    template = step(retryStrategy={"limit": 1})
    template["container"]["args"] = ["{{retries}}/{{lastRetry.exitCode}}/{{pod.name}}"]
    await platform.outcome(dag({"name": "a"}, templates=(template,)))
    args = [platform.runner.pods[f"wf.a({n})"]["spec"]["containers"][0]["args"][0] for n in (0, 1)]
    assert args[0].startswith("0/0/wf-step-")
    assert args[1].startswith("1/9/wf-step-")


@pytest.mark.parametrize(
    ("strategy", "phase", "verdict"),
    [
        ({}, Phase.FAILED, RetryNow()),
        ({}, Phase.ERROR, GiveUp("why")),
        ({"retryPolicy": "OnError"}, Phase.ERROR, RetryNow()),
        ({"retryPolicy": "OnError"}, Phase.FAILED, GiveUp("why")),
        ({"retryPolicy": "Always"}, Phase.ERROR, RetryNow()),
        ({"retryPolicy": "OnTransientError"}, Phase.FAILED, GiveUp("why")),
        ({"expression": "true"}, Phase.ERROR, RetryNow()),
        (
            {"expression": "false"},
            Phase.FAILED,
            GiveUp("retryStrategy.expression evaluated to false"),
        ),
        ({"limit": 0}, Phase.FAILED, GiveUp("No more retries left")),
        ({"limit": "1"}, Phase.FAILED, RetryNow()),
    ],
)
def test_policy_limit_and_expression(strategy: Any, phase: Phase, verdict: object) -> None:
    assert next_attempt(strategy, [failed(0, phase=phase)], later(100)) == verdict


def test_back_off_grows_up_to_its_cap() -> None:
    strategy = {"limit": 9, "backoff": {"duration": "2s", "factor": "2", "cap": "10s"}}
    waits = []
    for count in range(1, 6):
        attempts = [failed(number) for number in range(count)]
        verdict = next_attempt(strategy, attempts, attempts[-1].finished_at or START)
        assert isinstance(verdict, WaitUntil)
        waits.append((verdict.moment - (attempts[-1].finished_at or START)).total_seconds())
    assert waits == [2, 4, 8, 10, 10]


def test_back_off_ends_with_max_duration() -> None:
    strategy = {"limit": 9, "backoff": {"duration": 5, "maxDuration": "6s"}}
    assert next_attempt(strategy, [failed(0)], later(3)) == GiveUp(
        "Backoff would exceed max duration limit"
    )
    assert next_attempt(strategy, [failed(0)], later(7)) == GiveUp("Max duration limit exceeded")


def test_a_final_failure_does_not_wait_for_the_back_off() -> None:
    strategy = {"limit": 3, "expression": TRANSIENT, "backoff": {"duration": "1h"}}
    assert isinstance(next_attempt(strategy, [failed(0)], later(2)), GiveUp)


async def test_a_number_that_is_none_after_filling_in_is_an_error_of_the_node(
    platform: Platform,
) -> None:
    template = step(
        inputs={"parameters": [{"name": "n", "default": "many"}]},
        retryStrategy={"limit": "{{inputs.parameters.n}}"},
    )
    platform.runner.plays("a", Script(exit_code=1))
    status = await platform.outcome(dag({"name": "a"}, templates=(template,)))
    assert named(status, "a")["phase"] == "Error"
    assert named(status, "a")["message"] == "retryStrategy.limit must be a whole number, not 'many'"


def test_an_unknown_policy_is_an_error() -> None:
    with pytest.raises(WorkflowError, match="Sometimes is not a valid RetryPolicy"):
        next_attempt({"retryPolicy": "Sometimes"}, [failed(0)], START)


@given(st.integers(1, 400), st.integers(0, 50), st.integers(1, 10**9))
def test_no_back_off_leaves_the_calendar(count: int, factor: int, seconds: int) -> None:
    strategy = {"backoff": {"duration": f"{seconds}s", "factor": factor}}
    verdict = next_attempt(strategy, [failed(number) for number in range(count)], START)
    assert isinstance(verdict, WaitUntil)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("lastRetry.exitCode == '75'", True),
        ("lastRetry.exitCode == 75", False),
        ("asInt(lastRetry.exitCode) >= 75 and not (retries == '9')", True),
        ("float(lastRetry.duration) < 2.5", True),
        ("lastRetry.message matches '^w.y$' || false", True),
        ("lastRetry.message contains \"h\" && lastRetry.message startsWith 'w'", True),
        ("lastRetry.status in ['Failed', 'Error']", True),
        ("asInt(lastRetry.exitCode) in [-1, 1]", False),
        ("lastRetry.message endsWith 'x'", False),
    ],
)
def test_retry_expressions(text: str, *, result: bool) -> None:
    variables: Mapping[str, str] = {
        "lastRetry.exitCode": "75",
        "lastRetry.status": "Failed",
        "lastRetry.duration": "2",
        "lastRetry.message": "why",
        "retries": "0",
    }
    assert retry_expressions.holds(text, variables) is result


@pytest.mark.parametrize(
    "text",
    [
        "lastRetry.exitCode > 3",
        "env('HOME') == ''",
        "sprig.upper(retries) == ''",
        "lastRetry.exit == 1",
        "retries",
        "asInt(lastRetry.message) == 1",
        "retries ?? 1",
        "retries == 0",
        "true || '1' != 1",
        "lastRetry.message matches '('",
    ],
)
def test_what_a_retry_expression_may_not_hold(text: str) -> None:
    with pytest.raises(BadExpression, match=r"retryStrategy\.expression"):
        retry_expressions.holds(text, attempt_values([failed(0)]))
