"""The pure core under random workflows: it ends, it repeats nothing, a restart changes nothing."""

import json
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_local.workflows.advance import advance
from nexus_local.workflows.check import check_program
from nexus_local.workflows.loading import build, stored
from nexus_local.workflows.nodes import NodeTable, NodeType, Phase
from nexus_local.workflows.pods import PodOrder, record
from nexus_local.workflows.program import Program, by_name, local_scope
from nexus_local.workflows.runner import PodResult
from nexus_local.workflows.situation import Situation
from nexus_local.workflows.state import RunState

from .conftest import START, dag, step, workflow

RESULTS = ["", ".Succeeded", ".Failed", ".Skipped", ".Omitted", ".Errored"]


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """A DAG of up to six tasks with conditions, fan-out, retries and a limit on parallelism."""
    count = draw(st.integers(1, 6))
    tasks: list[dict[str, Any]] = []
    for number in range(count):
        task: dict[str, Any] = {"name": f"t{number}", "template": draw(TEMPLATES)}
        before = draw(st.sets(st.integers(0, number - 1), max_size=2)) if number else set()
        if before:
            sign = draw(st.sampled_from([" && ", " || "]))
            task["depends"] = sign.join(f"t{n}{draw(st.sampled_from(RESULTS))}" for n in before)
        if draw(st.booleans()):
            task["withItems"] = list(range(draw(st.integers(1, 4))))
        if draw(st.integers(0, 4)) == 0:
            item = "withItems" in task and draw(st.booleans())
            task["when"] = "{{item}} > 1" if item else "1 > 2"
        tasks.append(task)
    inner = {
        "name": "inner",
        "parallelism": draw(st.integers(1, 3)),
        "dag": {"tasks": [{"name": "x", "template": "once"}, {"name": "y", "template": "twice"}]},
    }
    once, twice = step("once"), step("twice", retryStrategy={"limit": 1, "retryPolicy": "Always"})
    bye = {"name": "bye", "dag": inner["dag"]}
    spec = dag(*tasks, templates=(inner, once, twice, bye))
    handlers = ["once", "twice", "bye"]
    if draw(st.booleans()):
        spec["parallelism"] = draw(st.integers(1, 3))
        handlers.remove("bye")  # refused: a DAG of the exit handler may not have to wait
    if draw(st.booleans()):
        spec["onExit"] = draw(st.sampled_from(handlers))
    return spec


TEMPLATES = st.sampled_from(["once", "twice", "inner"])
EXITS = st.lists(st.sampled_from([0, 0, 0, 1, None]), min_size=1, max_size=8)


def program_of(spec: dict[str, Any]) -> Program:
    manifest = workflow(spec, uid="u")
    return build(manifest, spec, {local_scope("wf"): by_name(spec["templates"])})


def fresh() -> RunState:
    return RunState("wf", NodeTable("wf"), Phase.RUNNING, "", START)


class Simulation:
    """Plays the engine without I/O; each node's end depends on its name alone."""

    def __init__(self, program: Program, exits: list[int | None]) -> None:
        self.program = program
        self.exits = exits
        self.state = fresh()
        self.now = START
        self.running: dict[str, PodOrder] = {}
        self.begun: list[str] = []
        self.most = 0

    def look(self) -> None:
        decision = advance(self.program, self.state, Situation(self.now, frozenset(self.running)))
        self.state = decision.state
        for order in decision.start:
            assert order.node_id not in self.running
            self.running[order.node_id] = order
            self.begun.append(order.node_id)
        self.most = max(self.most, len(self.running))
        assert self.state.finished or self.running or decision.wake_at is not None

    def end_one(self, choice: int) -> None:
        key = sorted(self.running)[choice % len(self.running)]
        order = self.running.pop(key)
        code = self.exits[sum(key.encode()) % len(self.exits)]
        self.now += timedelta(seconds=1)
        reason = {0: "Completed", None: "ErrImageNeverPull"}.get(code, "Error")
        record(self.state.nodes[key], order.outputs, PodResult(code, reason), {}, self.now)

    def restart(self) -> None:
        manifest = workflow(dict(self.program.spec), uid="u")
        status = {**self.state.status(), "storedWorkflowTemplateSpec": dict(self.program.spec)}
        manifest["status"] = json.loads(json.dumps(status))
        self.program, self.state = stored(manifest), RunState.from_manifest(manifest)
        self.running.clear()

    def outcome(self) -> dict[str, tuple[str, str]]:
        return {node.name: (str(node.type), str(node.phase)) for node in self.state.nodes}

    def run(self, choices: list[int]) -> None:
        for turn in range(400):
            self.look()
            if self.state.finished:
                return
            if self.running:
                self.end_one(choices[turn % len(choices)])
        raise AssertionError("the workflow does not end")


CHOICES = st.lists(st.integers(0, 9), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(specs(), EXITS, CHOICES)
def test_every_workflow_ends_with_every_node_ended(
    spec: dict[str, Any], exits: list[int | None], choices: list[int]
) -> None:
    program = program_of(spec)
    assert check_program(program) == []
    simulation = Simulation(program, exits)
    simulation.run(choices)
    assert all(node.phase.fulfilled for node in simulation.state.nodes)
    assert len(simulation.begun) == len(set(simulation.begun))
    assert simulation.most <= spec.get("parallelism", 1000)
    for node in simulation.state.nodes:
        assert all(child in simulation.state.nodes.manifest() for child in node.children)
        if node.type is NodeType.RETRY:
            assert 1 <= len(simulation.state.nodes.attempts(node)) <= 2


@settings(max_examples=100, deadline=None)
@given(specs(), EXITS, CHOICES, CHOICES)
def test_the_order_in_which_pods_end_does_not_matter(
    spec: dict[str, Any], exits: list[int | None], choices: list[int], others: list[int]
) -> None:
    one, other = (Simulation(program_of(spec), exits) for _ in range(2))
    one.run(choices)
    other.run(others)
    assert one.outcome() == other.outcome()
    assert one.state.phase is other.state.phase


@settings(max_examples=100, deadline=None)
@given(specs(), EXITS, CHOICES, st.lists(st.booleans(), min_size=1, max_size=9))
def test_a_crash_at_any_point_repeats_no_finished_node_and_changes_no_outcome(
    spec: dict[str, Any], exits: list[int | None], choices: list[int], crashes: list[bool]
) -> None:
    calm, shaken = (Simulation(program_of(spec), exits) for _ in range(2))
    calm.run(choices)
    ended: set[str] = set()
    for turn in range(400):
        shaken.look()
        assert not ended & set(shaken.running)
        if shaken.state.finished:
            break
        if crashes[turn % len(crashes)] and turn < 100:
            shaken.restart()
            shaken.look()
        if shaken.running:
            before = set(shaken.running)
            shaken.end_one(choices[turn % len(choices)])
            ended |= before - set(shaken.running)
    assert shaken.outcome() == calm.outcome()


@settings(max_examples=100, deadline=None)
@given(specs(), EXITS, st.integers(0, 20))
def test_looking_twice_changes_nothing(
    spec: dict[str, Any], exits: list[int | None], turns: int
) -> None:
    simulation = Simulation(program_of(spec), exits)
    for _ in range(turns):
        simulation.look()
        if simulation.running and not simulation.state.finished:
            simulation.end_one(0)
    if simulation.state.finished:
        return
    situation = Situation(simulation.now, frozenset(simulation.running))
    first = advance(simulation.program, simulation.state, situation)
    running = frozenset({*simulation.running, *(order.node_id for order in first.start)})
    second = advance(simulation.program, first.state, Situation(simulation.now, running))
    if first.state.finished or first.wake_at is not None:
        return
    assert second.start == []
    assert second.state.status() == first.state.status()


def test_the_core_leaves_the_state_it_is_given_alone() -> None:
    program, state = program_of(dag({"name": "a"}, {"name": "b", "depends": "a"})), fresh()
    before = json.dumps(state.status())
    decision = advance(program, state, Situation(START))
    assert json.dumps(state.status()) == before
    assert len(decision.start) == 1


def test_a_large_fan_out_is_decided_quickly() -> None:
    """200 shards, one of which has just ended: well within a tenth of a second."""
    program = program_of(
        dag(
            {"name": "each", "withItems": list(range(200))},
            templates=(step(retryStrategy={"limit": 3}),),
        )
    )
    decision = advance(program, fresh(), Situation(START))
    assert len(decision.start) == 200
    running = frozenset(order.node_id for order in decision.start[1:])
    first = decision.start[0]
    record(decision.state.nodes[first.node_id], (), PodResult(0, "Completed"), {}, START)
    again = advance(program, decision.state, Situation(START, running))
    assert again.start == []
    assert len(json.dumps(again.state.status())) < 400_000
