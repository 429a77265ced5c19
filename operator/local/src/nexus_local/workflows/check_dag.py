"""What is wrong with the DAG of a template."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from nexus_local.workflows import conditions
from nexus_local.workflows.depends import Depends, read_depends
from nexus_local.workflows.errors import (
    BadExpression,
    InvalidWorkflow,
    Unsupported,
    WorkflowError,
)
from nexus_local.workflows.references import (
    Visible,
    check_tags,
    fans_out,
    parameter_names,
    task_facts,
)

TASK_NAME = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]*")
Task: TypeAlias = Mapping[str, Any]
Find: TypeAlias = Callable[[Task], Mapping[str, Any] | None]
"""Task -> its template, None when there is none."""
Descend: TypeAlias = Callable[[Task, set[str], str], Iterator[WorkflowError]]
"""(task, parameters it gives, path) -> what is wrong with its template."""


def check_dag(
    template: Mapping[str, Any], path: str, visible: Visible, find: Find, descend: Descend
) -> Iterator[WorkflowError]:
    """Yield what is wrong with the tasks of a template and with what they name."""
    tasks = {str(task.get("name", "")): task for task in template["dag"].get("tasks") or ()}
    if len(tasks) != len(template["dag"].get("tasks") or ()):
        yield InvalidWorkflow(f"{path}.tasks", "must have names of their own")
    if not tasks:
        yield InvalidWorkflow(f"{path}.tasks", "must have at least one task")
    wanted: dict[str, Depends] = {}
    for name, task in tasks.items():
        yield from _condition(task, tasks, f"{path}.tasks.{name}", wanted)
    for target in (template["dag"].get("target") or "").split():
        if target not in tasks:
            yield InvalidWorkflow(f"{path}.dag.target", f"there is no task {target}")
    if len(wanted) < len(tasks):
        return
    circle = find_cycle({name: depends.tasks for name, depends in wanted.items()})
    if circle:
        yield InvalidWorkflow(f"{path}.tasks", f"dependency cycle: {' -> '.join(circle)}")
        return
    facts = {name: task_facts(task, find(task) or {}) for name, task in tasks.items()}
    for name, task in tasks.items():
        below = f"{path}.tasks.{name}"
        ancestors = ancestors_of(name, wanted)
        seen = replace(visible, tasks={other: facts[other] for other in ancestors})
        yield from _task(task, below, seen)
        yield from descend(task, set(parameter_names(task_arguments(task), "arguments")), below)
    yield from _outputs(template, path, replace(visible, tasks=facts))


def task_arguments(task: Task) -> Task:
    """Return the part of a task that holds its arguments."""
    return {"arguments": task.get("arguments") or {}}


def _condition(
    task: Task, tasks: Mapping[str, Task], path: str, wanted: dict[str, Depends]
) -> Iterator[WorkflowError]:
    name = str(task.get("name", ""))
    if not TASK_NAME.fullmatch(name):
        yield InvalidWorkflow(f"{path}.name", "must be letters, digits and -")
        return
    if task.get("depends") and task.get("dependencies"):
        yield InvalidWorkflow(path, "cannot have both depends and dependencies")
        return
    if task.get("depends") and re.match(r"\d", name):
        yield InvalidWorkflow(f"{path}.name", "cannot begin with a digit beside depends")
        return
    try:
        depends = read_depends(task)
    except BadExpression as error:
        yield InvalidWorkflow(f"{path}.depends", str(error))
        return
    for other in depends.tasks:
        if other not in tasks:
            yield InvalidWorkflow(f"{path}.depends", f"there is no task {other}")
            return
    for other in depends.over_items:
        if not fans_out(tasks[other]):
            yield InvalidWorkflow(
                f"{path}.depends",
                f"asks for AnySucceeded or AllFailed of {other}, which has no items",
            )
            return
    wanted[name] = depends


def _task(task: Task, path: str, visible: Visible) -> Iterator[WorkflowError]:
    if bool(task.get("template")) == bool(task.get("templateRef")):
        yield InvalidWorkflow(path, "must have exactly one of template and templateRef")
    if task.get("withItems") is not None and task.get("withParam") is not None:
        yield InvalidWorkflow(path, "cannot have both withItems and withParam")
    for number, parameter in enumerate((task.get("arguments") or {}).get("parameters") or ()):
        if parameter.get("value") is None:
            place = f"{path}.arguments.parameters[{number}].value"
            yield InvalidWorkflow(place, f"{parameter.get('name')} has no value")
    yield from _when(task.get("when") or "", f"{path}.when")
    for field in ("withItems", "withParam"):
        yield from check_tags(task.get(field), f"{path}.{field}", visible)
    visible = replace(visible, item=fans_out(task))
    for field in ("arguments", "when"):
        yield from check_tags(task.get(field), f"{path}.{field}", visible)


def _when(when: str, path: str) -> Iterator[WorkflowError]:
    if when and "{{" not in when:
        try:
            conditions.holds(when)
        except BadExpression as error:
            yield Unsupported(path, str(error))


def _outputs(template: Mapping[str, Any], path: str, visible: Visible) -> Iterator[WorkflowError]:
    for number, parameter in enumerate((template.get("outputs") or {}).get("parameters") or ()):
        place = f"{path}.outputs.parameters[{number}].valueFrom.parameter"
        source = (parameter.get("valueFrom") or {}).get("parameter")
        if not source:
            yield InvalidWorkflow(place, "is required in a dag template")
        yield from check_tags(source, place, visible)


def ancestors_of(name: str, wanted: Mapping[str, Depends]) -> set[str]:
    """Return every task that must end before `name` may run."""
    found: set[str] = set()
    waiting = list(wanted[name].tasks)
    while waiting:
        task = waiting.pop()
        if task not in found:
            found.add(task)
            waiting += wanted[task].tasks
    return found


def find_cycle(wanted: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return one cycle of names, first name repeated at its end, or nothing."""
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        for other in wanted[name]:
            circle = visit(other, [*trail, name])
            if circle:
                return circle
        done.add(name)
        return []

    for name in wanted:
        circle = visit(name, [])
        if circle:
            return circle
    return []
