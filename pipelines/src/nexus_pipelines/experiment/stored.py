"""The per-item results of a run, from where it left them: the work store, or MLflow.

A run of a FineTuneJob keeps its results in the work store as long as `spec.runsKept` says, and in
MLflow once it was gated, whatever the gate said.  A run of `nexus evaluate` keeps them in MLflow.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nexus_evaluation.errors import BadGoldenSet
from nexus_evaluation.golden import read as read_golden
from nexus_evaluation.results import ItemResult, Slices, read
from nexus_knowledge.errors import ObjectNotFound
from nexus_knowledge.objects import ObjectStore
from nexus_pipelines.errors import StepError, UsageError
from nexus_pipelines.finetune.store import FineTuneStore
from nexus_registry import Reader, TrackedRun

CANDIDATE, PRODUCTION = "candidate", "production"
TABLE = "items.json"
_RUN = re.compile(r"(?:(?P<job>[a-z0-9][a-z0-9.-]*)/)?(?P<run>[A-Za-z0-9][A-Za-z0-9._-]*)")
_FIXED = frozenset(
    {"id", "document", "question", "answer", "latencyMs", "refused", *Slices.model_fields}
)


class RunUnknown(StepError):
    """No run of this name left results, or more than one did."""


@dataclass(frozen=True, slots=True)
class RunName:
    """A run as people name it: `[JOB/]RUN`, with `@production` for what it was compared with."""

    run: str
    job: str = ""
    side: str = CANDIDATE

    def __str__(self) -> str:
        """Write it as it was named."""
        place = f"{self.job}/{self.run}" if self.job else self.run
        return place if self.side == CANDIDATE else f"{place}@{self.side}"

    @classmethod
    def parse(cls, text: str) -> "RunName":
        """Read a name.  Raises UsageError."""
        place, at, side = text.partition("@")
        found = _RUN.fullmatch(place)
        if not found or (at and side != PRODUCTION):
            raise UsageError(
                f"{text!r} names no run: write RUN or JOB/RUN, with @production for what the run "
                "was compared with"
            )
        return cls(found["run"], found["job"] or "", side or CANDIDATE)


@dataclass(frozen=True, slots=True)
class Stored:
    """Results of one side of a run; `questions` by item id, as far as they were kept."""

    name: str
    results: tuple[ItemResult, ...]
    questions: Mapping[str, str] = field(default_factory=dict)


def experiments(namespace: str) -> str:
    """Return the MLflow experiment that `nexus evaluate` tracks a namespace's runs in."""
    return f"{namespace}/experiments"


def from_work(store: ObjectStore, namespace: str, name: RunName) -> Stored | None:
    """Read the results of a FineTuneJob's run; None when no such run has any.

    Raises:
        RunUnknown: runs of several jobs are called so.
    """
    jobs = [name.job] if name.job else _jobs(store, namespace, name)
    if len(jobs) > 1:
        raise RunUnknown(
            f"runs of {', '.join(jobs)} are called {name.run}: name one as {jobs[0]}/{name.run}"
        )
    if not jobs:
        return None
    folder = FineTuneStore(store, namespace, jobs[0], name.run)
    try:
        with store.open(folder.key(f"evaluate/{name.side}.jsonl")) as stream:
            results = read(stream.read(), str(name))
    except ObjectNotFound:
        return None
    return Stored(str(name), results, _questions(store, folder))


def from_tracking(reader: Reader, namespace: str, name: RunName) -> Stored | None:
    """Read the results of a tracked run; None when there is no such run.

    Raises:
        RunUnknown: several runs are called so.
    """
    places = (f"{namespace}.{name.job}",) if name.job else (f"{namespace}.", experiments(namespace))
    found = reader.find(name.run, prefixes=places)
    if name.job:  # a prefix of one job's name may be another's name
        found = [one for one in found if one.experiment == places[0]]
    if not found:
        return None
    if len(found) > 1:
        raise RunUnknown(
            f"{len(found)} runs are called {name.run}: name one by its id, "
            f"{' or '.join(_shown(one) for one in found[:3])}"
        )
    return from_rows(str(name), reader.table(found[0].id, TABLE), side=name.side)


def from_rows(name: str, rows: Iterable[Mapping[str, Any]], *, side: str = CANDIDATE) -> Stored:
    """Read results from the rows of a table of items.

    Raises:
        RunUnknown: a row is no item's, or the run was compared with nothing.
    """
    results: list[ItemResult] = []
    questions: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        try:
            results.append(_result(row, side))
        except (KeyError, TypeError, ValueError) as error:
            why = "was compared with nothing" if side == PRODUCTION else f"has none: {error}"
            raise RunUnknown(f"{name}: item {number} of its results {why}") from error
        if question := row.get("question"):
            questions[str(row["id"])] = str(question)
    if not results:
        raise RunUnknown(f"{name} has no results")
    return Stored(name, tuple(results), questions)


def to_rows(results: Iterable[ItemResult], questions: Mapping[str, str]) -> list[dict[str, Any]]:
    """Write results as the rows of a table of items."""
    return [
        {
            "id": one.id,
            "document": one.cluster,
            **one.slices.named(),
            "question": questions.get(one.id, ""),
            "answer": one.answer,
            **one.metrics,
            "latencyMs": one.latency_ms,
        }
        for one in results
    ]


def _jobs(store: ObjectStore, namespace: str, name: RunName) -> Sequence[str]:
    root, ending = f"finetunes/{namespace}/", f"/{name.run}/evaluate/{name.side}.jsonl"
    keys = (found.key for found in store.list(root))
    return sorted(key[len(root) : -len(ending)] for key in keys if key.endswith(ending))


def _questions(store: ObjectStore, folder: FineTuneStore) -> dict[str, str]:
    try:
        with store.open(folder.key("select/golden.jsonl")) as stream:
            return {item.id: item.question for item in read_golden(stream.read()).items}
    except (ObjectNotFound, BadGoldenSet):
        return {}  # shown beside the scores, which stand without them


def _result(row: Mapping[str, Any], side: str) -> ItemResult:
    prefix = "" if side == CANDIDATE else f"{side}."
    metrics = {
        name.removeprefix(prefix): float(value)
        for name, value in row.items()
        if name.startswith(prefix)
        and "." not in name.removeprefix(prefix)
        and name.removeprefix(prefix) not in _FIXED
        and not isinstance(value, str)
    }
    if not metrics:
        raise ValueError("it has no score")
    return ItemResult(
        id=row["id"],
        cluster=row["document"],
        slices=Slices(**{name: row.get(name, "") for name in Slices.model_fields}),
        answer=row.get(f"{prefix}answer", ""),
        metrics=metrics,
        latency_ms=float(row.get("latencyMs", 0.0)) if not prefix else 0.0,
    )


def _shown(run: TrackedRun) -> str:
    return f"{run.id} ({run.experiment}, {run.started:%Y-%m-%d %H:%M})"
