"""Whether every `{{reference}}` of a Workflow can have a value where it stands."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nexus_local.workflows.errors import InvalidWorkflow, Unsupported, WorkflowError
from nexus_local.workflows.program import Program
from nexus_local.workflows.retry_expressions import VARIABLES as RETRY_VARIABLES
from nexus_local.workflows.substitution import tags
from nexus_local.workflows.values import workflow_values

FOREIGN = re.compile(
    r"""=.*
    | steps\..*
    | (inputs|outputs)\.artifacts\..*
    | outputs\.result
    | workflow\.(outputs|creationTimestamp)\..*
    | workflow\.(labels|annotations)(\.json)?
    | workflow\.scheduledTime
    | tasks\.name
    | tasks\.[^.]+\.(ip|hostNodeName|outputs\.(result|artifacts\..*))""",
    re.VERBOSE | re.DOTALL,
)
"""References that Argo fills in and this engine does not."""
TASK_FACTS = ("id", "status", "startedAt", "finishedAt", "exitCode")


@dataclass(frozen=True, slots=True)
class Visible:
    """What references may name at one place."""

    names: frozenset[str]
    tasks: Mapping[str, Callable[[str], bool]]
    """Task -> whether what follows `tasks.<task>.` exists."""
    item: bool = False

    def plus(self, names: Iterable[str]) -> "Visible":
        """Return the same with more names."""
        return replace(self, names=self.names | frozenset(names))

    def resolves(self, tag: str) -> bool:
        """Tell whether a reference can have a value here."""
        if tag in self.names or (self.item and (tag == "item" or tag.startswith("item."))):
            return True
        first, _, rest = tag.partition(".")
        task, _, fact = rest.partition(".")
        return first == "tasks" and task in self.tasks and self.tasks[task](fact)


def check_tags(value: Any, path: str, visible: Visible) -> Iterator[WorkflowError]:
    """Yield an error for every reference below `value` that cannot be filled in."""
    for place, tag in tags(value, path):
        if visible.resolves(tag):
            continue
        if FOREIGN.fullmatch(tag):
            yield Unsupported(place, f"it uses {{{{{tag}}}}}")
        else:
            yield InvalidWorkflow(place, f"failed to resolve {{{{{tag}}}}}")


def workflow_names(program: Program, *, exiting: bool) -> Visible:
    """Return what every place of a Workflow may name; an exit handler also the failures."""
    names = {*workflow_values(program), "workflow.status", "workflow.duration"}
    return Visible(frozenset(names | ({"workflow.failures"} if exiting else set())), {})


def template_names(template: Mapping[str, Any]) -> set[str]:
    """Return what the body of a template may name beside the workflow's."""
    names = {"inputs.parameters", "node.name"} | {
        f"inputs.parameters.{name}" for name in parameter_names(template, "inputs")
    }
    if "container" in template:
        names |= {"pod.name"} | {
            f"outputs.parameters.{name}.path" for name in parameter_names(template, "outputs")
        }
    if template.get("retryStrategy"):
        names |= set(RETRY_VARIABLES)
    return names


def parameter_names(template: Mapping[str, Any], side: str) -> list[str]:
    """Return the names of a template's `inputs` or `outputs` parameters."""
    parameters = (template.get(side) or {}).get("parameters") or ()
    return [str(parameter.get("name", "")) for parameter in parameters]


def task_facts(task: Mapping[str, Any], template: Mapping[str, Any]) -> Callable[[str], bool]:
    """Return a test for what may follow `tasks.<task>.`."""
    outputs = {f"outputs.parameters.{name}" for name in parameter_names(template, "outputs")}
    if fans_out(task):
        return frozenset({"outputs.parameters", *outputs, *TASK_FACTS[:-1]}).__contains__
    return frozenset({*outputs, *TASK_FACTS}).__contains__


def fans_out(task: Mapping[str, Any]) -> bool:
    """Tell whether a task has items."""
    return bool(task.get("withItems")) or bool(task.get("withParam"))
