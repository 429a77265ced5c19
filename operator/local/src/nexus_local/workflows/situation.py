"""What the core is told, what it answers, and what it passes from template to task."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nexus_local.workflows.pods import PodOrder
from nexus_local.workflows.state import RunState


@dataclass(frozen=True, slots=True)
class Situation:
    """What the core cannot know by itself.

    running: ids of the nodes whose pods run now. shutdown: `spec.shutdown` as it stands now.
    """

    now: datetime
    running: frozenset[str] = frozenset()
    shutdown: str = ""
    suspended: bool = False


@dataclass(slots=True)
class Decision:
    """What happens next.

    start: pods to run. stop: ids of running nodes whose pods must end. wake_at: when to look
    again even if no pod ends.
    """

    state: RunState
    start: list[PodOrder] = field(default_factory=list)
    stop: set[str] = field(default_factory=set)
    wake_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A template called by the entry point, the exit handler or a task."""

    name: str
    """The node's name."""
    scope: str
    holder: Mapping[str, Any]
    """What names the template: `template` or `templateRef`."""
    arguments: Mapping[str, str]
    boundary: str = ""
    flag: dict[str, bool] | None = None
    exiting: bool = False
