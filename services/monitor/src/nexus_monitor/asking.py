"""From a decision to annotations: what is asked of whom, and never twice.  Pure.

Nothing is remembered between two looks.  What was asked for stands in the resources themselves: an
annotation that is there, a request that is answered.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC

from nexus_api.alerts import firing, records
from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import ALERT_REQUESTED, PROMOTION_BLOCKED, SYNC_REQUESTED
from nexus_api.ragindex import RagIndex
from nexus_monitor.triage import Action, Decision
from nexus_monitor.windows import Windows, serves

ALERT_NAME = "NexusDrift"
"""`alertname` by which a job says that drift may start a run of it."""
OWN = "drift:"
"""How a reason of ours begins; any other is a person's and stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An annotation to set, or with ``value`` None to take away."""

    plural: str
    name: str
    annotation: str
    value: str | None


def wishes(
    decision: Decision,
    windows: Windows | None,
    model: str,
    jobs: Iterable[FineTuneJob],
    index: RagIndex | None,
) -> Iterator[Asked]:
    """Yield what is to be changed; nothing of what is there already.

    ``jobs``: those of the model's namespace; ``index``: the one that the model answers from.
    """
    for job in jobs:
        if serves(job, model):
            yield from _hold(decision, windows, job)
            if decision.action is Action.RETRAIN and windows is not None:
                yield from _run(windows, model, job)
    if decision.action is Action.RESYNC and index is not None:
        yield from _sync(index)


def _hold(decision: Decision, windows: Windows | None, job: FineTuneJob) -> Iterator[Asked]:
    """Stop or allow promotions.  What cannot be told now leaves a reason of this reference."""
    there = job.metadata.annotations.get(PROMOTION_BLOCKED, "")
    if there and not there.startswith(OWN):
        return
    mine = f"{OWN}{windows.reference}: " if windows is not None else None
    holds = mine is not None and there.startswith(mine)
    value: str | None = None
    if decision.blocked and mine is not None:
        # The figures change from look to look: the first ones stand, or all would be written anew.
        value = there if holds else mine + decision.message
    elif decision.band is None and holds:
        value = there
    if value != (there or None):
        yield Asked(
            plural="finetunejobs", name=job.metadata.name, annotation=PROMOTION_BLOCKED, value=value
        )


def _run(windows: Windows, model: str, job: FineTuneJob) -> Iterator[Asked]:
    """Ask as an alert does: matchers, cooldown and what was answered count as they do there."""
    if job.spec.triggers is None:
        return
    namespace = job.metadata.namespace
    labels = {"alertname": ALERT_NAME, "namespace": namespace, "model": model}
    subject = f"{namespace}/{model}@{windows.reference}"
    alert = {
        "status": "firing",
        "labels": labels,
        "fingerprint": hashlib.sha256(subject.encode()).hexdigest()[:16],
        "startsAt": windows.episode.astimezone(UTC).isoformat(),
    }
    value = firing({"alerts": [alert]}, [one.matchers for one in job.spec.triggers.alerts])
    told = {one.removeprefix("run:") for one in job.status.answered}
    waiting = set(records(job.metadata.annotations.get(ALERT_REQUESTED, ""))) - told
    # Another alert that waits starts a run, which then answers this one as well.
    if value and value not in told and not waiting:
        yield Asked(
            plural="finetunejobs", name=job.metadata.name, annotation=ALERT_REQUESTED, value=value
        )


def _sync(index: RagIndex) -> Iterator[Asked]:
    """Ask for one sync after the last one; who syncs has until the next look to begin."""
    last = index.status.last_sync_time
    value = f"drift-after-{last.strftime('%Y-%m-%dT%H:%M:%SZ') if last is not None else 'nothing'}"
    if index.metadata.annotations.get(SYNC_REQUESTED, "") != value:
        yield Asked(
            plural="ragindexes",
            name=index.metadata.name,
            annotation=SYNC_REQUESTED,
            value=value,
        )
