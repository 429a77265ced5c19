"""Everything that is wrong with a Workflow, found before anything of it runs."""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias

from nexus_local.workflows import retry, retry_expressions
from nexus_local.workflows.check_dag import check_dag
from nexus_local.workflows.durations import parse_duration
from nexus_local.workflows.errors import (
    BadExpression,
    InvalidWorkflow,
    Unsupported,
    WorkflowError,
)
from nexus_local.workflows.fields import SPEC, check_keys
from nexus_local.workflows.program import Program
from nexus_local.workflows.references import (
    check_tags,
    parameter_names,
    template_names,
    workflow_names,
)

FIELD_NAME = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]*")
PARAMETER_NAME = re.compile(r"[-a-zA-Z0-9_]+")
LONGEST_NAME = 63
LARGEST_SECONDS = 2**31 - 1
Callers: TypeAlias = tuple[tuple[str, str], ...]
"""The templates on the way from the entry point."""
SHUTDOWNS = ("", "Terminate", "Stop")


def check_object(manifest: Mapping[str, Any], label: str) -> list[WorkflowError]:
    """Return what is wrong with the keys of a Workflow or WorkflowTemplate.

    label: what stands before a path, empty for the Workflow itself.
    """
    return list(check_keys(manifest.get("spec") or {}, SPEC, f"{label}spec"))


def check_program(program: Program) -> list[WorkflowError]:
    """Return what is wrong with a Workflow whose templates are all there; empty when it may run."""
    return list(Checker(program).problems())


class Checker:
    """Walks the templates that a Program can reach, each once."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.seen: set[tuple[str, str, bool]] = set()

    def problems(self) -> Iterator[WorkflowError]:
        """Yield every problem."""
        spec = self.program.spec
        if len(self.program.name) > LONGEST_NAME:
            yield InvalidWorkflow("metadata.name", "must not be longer than 63 characters")
        if not spec.get("entrypoint"):
            yield InvalidWorkflow("spec.entrypoint", "is required")
            return
        yield from self._arguments()
        yield from self._limits(spec, "spec")
        yield from check_time_to_live(spec.get("ttlStrategy") or {})
        if spec.get("shutdown", "") not in SHUTDOWNS:
            yield InvalidWorkflow("spec.shutdown", "must be Terminate or Stop")
        for part in ("synchronization", "volumes", "podMetadata"):
            visible = workflow_names(self.program, exiting=False)
            yield from check_tags(spec.get(part), f"spec.{part}", visible)
        given = set(parameter_names(spec, "arguments"))
        for field in ("entrypoint", "onExit"):
            if spec.get(field):
                holder = {"template": spec[field]}
                exiting = field == "onExit"
                yield from self._holder(
                    self.program.scope, holder, given, f"spec.{field}", (), exiting=exiting
                )

    def _arguments(self) -> Iterator[WorkflowError]:
        arguments = self.program.spec.get("arguments") or {}
        for number, parameter in enumerate(arguments.get("parameters") or ()):
            path = f"spec.arguments.parameters[{number}]"
            if parameter.get("value") is None:
                yield InvalidWorkflow(f"{path}.value", f"{parameter.get('name')} has no value")
            if not PARAMETER_NAME.fullmatch(str(parameter.get("name", ""))):
                yield InvalidWorkflow(f"{path}.name", "must be letters, digits, - and _")

    def _holder(
        self,
        scope: str,
        holder: Mapping[str, Any],
        given: set[str],
        path: str,
        callers: Callers,
        *,
        exiting: bool,
    ) -> Iterator[WorkflowError]:
        """Check the template that a task, the entry point or the exit handler names.

        given: the parameters it is given. callers: templates on the way here.
        """
        try:
            scope, template = self.program.find(scope, holder)
        except InvalidWorkflow as error:
            yield InvalidWorkflow(path, str(error))
            return
        for parameter in (template.get("inputs") or {}).get("parameters") or ():
            known = parameter.get("value") is not None or parameter.get("default") is not None
            if not known and parameter.get("name") not in given:
                yield InvalidWorkflow(
                    path, f"inputs.parameters.{parameter['name']} is not supplied"
                )
        place = (scope, str(template.get("name", "")))
        if place in callers:
            yield Unsupported(path, "templates that call themselves")
        elif (*place, exiting) not in self.seen:
            self.seen.add((*place, exiting))
            yield from self._template(scope, template, (*callers, place), exiting=exiting)

    def _template(
        self,
        scope: str,
        template: Mapping[str, Any],
        callers: Callers,
        *,
        exiting: bool,
    ) -> Iterator[WorkflowError]:
        path = f"templates.{template.get('name', '')}"
        if not FIELD_NAME.fullmatch(str(template.get("name", ""))):
            yield InvalidWorkflow(f"{path}.name", "must be letters, digits and -")
        kinds = [kind for kind in ("container", "dag") if template.get(kind) is not None]
        if len(kinds) != 1:
            yield InvalidWorkflow(path, "must have exactly one of container and dag")
            return
        yield from self._limits(template, path)
        if exiting and kinds == ["dag"]:
            yield from self._waiting(template, path)
        visible = workflow_names(self.program, exiting=exiting).plus(template_names(template))
        body = {key: value for key, value in template.items() if key != "dag"}
        if kinds == ["dag"]:
            find = partial(self._find, scope)
            descend = partial(self._descend, scope, callers, exiting=exiting)
            yield from check_dag(template, path, visible, find, descend)
            body.pop("outputs", None)
        else:
            yield from self._container(template, path)
        yield from check_tags(body, path, visible)

    def _waiting(self, template: Mapping[str, Any], path: str) -> Iterator[WorkflowError]:
        """Refuse a DAG of the exit handler in which a task may have to wait for others.

        Argo 3.7.14 links such a task to the DAG before it makes its node, looks for that node
        (`nodeRequiresTaskSetReconciliation`, for exit handlers only) and ends the controller's
        own process with log.Fatalf.
        """
        for holder, place in ((template, path), (self.program.spec, "spec")):
            if holder.get("parallelism") is not None:
                why = f"Argo 3.7 crashes on the DAG {path} when it is part of the exit handler"
                yield Unsupported(f"{place}.parallelism", why)

    def _find(self, scope: str, task: Mapping[str, Any]) -> Mapping[str, Any] | None:
        try:
            return self.program.find(scope, task)[1]
        except InvalidWorkflow:
            return None  # said when the task's own template is checked

    def _descend(
        self,
        scope: str,
        callers: Callers,
        task: Mapping[str, Any],
        given: set[str],
        path: str,
        *,
        exiting: bool,
    ) -> Iterator[WorkflowError]:
        yield from self._holder(scope, task, given, path, callers, exiting=exiting)

    def _container(self, template: Mapping[str, Any], path: str) -> Iterator[WorkflowError]:
        container = template["container"]
        if not container.get("image"):
            yield InvalidWorkflow(f"{path}.container.image", "is required")
        if not container.get("command"):
            yield Unsupported(f"{path}.container", "a container without a command")
        for number, parameter in enumerate((template.get("outputs") or {}).get("parameters") or ()):
            if not (parameter.get("valueFrom") or {}).get("path"):
                place = f"{path}.outputs.parameters[{number}].valueFrom.path"
                yield InvalidWorkflow(place, "is required in a container template")

    def _limits(self, holder: Mapping[str, Any], path: str) -> Iterator[WorkflowError]:
        for field in ("parallelism", "activeDeadlineSeconds"):
            value = holder.get(field)
            whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
            if field == "activeDeadlineSeconds" and path != "spec" and isinstance(value, str):
                whole = "{{" in value or bool(re.fullmatch(r"0*[1-9]\d*", value))
            if value is not None and not whole:
                yield InvalidWorkflow(f"{path}.{field}", "must be a whole number above 0")
        if holder.get("retryStrategy"):
            yield from check_retry(holder["retryStrategy"], f"{path}.retryStrategy")


def check_time_to_live(strategy: Mapping[str, Any]) -> Iterator[WorkflowError]:
    """Yield what is wrong with a ttlStrategy, whose fields are int32 in Argo."""
    for field, value in strategy.items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and not (whole and abs(value) <= LARGEST_SECONDS):
            yield InvalidWorkflow(f"spec.ttlStrategy.{field}", "must be a whole number")


def check_retry(strategy: Mapping[str, Any], path: str) -> Iterator[WorkflowError]:
    """Yield what is wrong with a retryStrategy, as far as it does not depend on inputs."""
    policy = strategy.get("retryPolicy")
    if policy and policy not in retry.POLICIES and "{{" not in policy:
        yield InvalidWorkflow(f"{path}.retryPolicy", f"must be one of {', '.join(retry.POLICIES)}")
    if strategy.get("expression"):
        try:
            retry_expressions.check(strategy["expression"])
        except BadExpression as error:
            yield Unsupported(f"{path}.expression", str(error))
    backoff = strategy.get("backoff") or {}
    if backoff and not backoff.get("duration"):
        yield InvalidWorkflow(f"{path}.backoff.duration", "is required")
    for field in ("duration", "maxDuration", "cap"):
        value = str(backoff.get(field) or "")
        if value and "{{" not in value:
            try:
                parse_duration(value)
            except WorkflowError as error:
                yield InvalidWorkflow(f"{path}.backoff.{field}", str(error))
    for place, number in ((f"{path}.limit", strategy), (f"{path}.backoff.factor", backoff)):
        value = str(number.get(place.rpartition(".")[2]) or "0")
        if "{{" not in value and not re.fullmatch(r"\d+", value):
            yield InvalidWorkflow(place, "must be a whole number")
