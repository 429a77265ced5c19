"""Which adapters requests may ask a model's pods for, by what the pods say they have.  Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from nexus_api.adapter_loading import LoadedAdapters
from nexus_api.meta import Manifest
from nexus_api.servingmodel import ServedAdapter, ServingModel
from nexus_operator.build.loading import LOADER_PORT, is_loader, loads_adapters
from nexus_operator.build.revision import fixed_revision_of, revision_of
from nexus_operator.objects import is_deleting, name_of
from nexus_operator.plan.adapters import Resolved
from nexus_operator.status.failure import Failure
from nexus_operator.status.pods import answers, over

LOADING = "AdapterLoading"

MOST_WORDS = 500

REFUSED_LOOK = timedelta(seconds=30)
"""What a pod refuses, or does not tell, does not change by itself within seconds."""


@dataclass(frozen=True)
class Loading:
    """What may be asked for, and what a released version waits for, the first one."""

    adapters: tuple[ServedAdapter, ...]
    waiting: Failure | None

    @property
    def look_again(self) -> timedelta | None:
        """When to look again; None for what moves."""
        waiting = self.waiting
        return None if waiting is None or waiting.reason == LOADING else REFUSED_LOOK


def wanted_revision(model: ServingModel, released: Resolved, present: Collection[str]) -> str:
    """Return the revision that the spec asks for; `present` are those that have a Deployment.

    A revision that has the adapters from its start, as earlier releases made them of vLLM, too,
    goes on until another version, or something else of the model, needs new processes anyway.
    """
    fixed = fixed_revision_of(released.model)
    return revision_of(model) if loads_adapters(model) and fixed not in present else fixed


def loading(
    released: Iterable[ServedAdapter],
    served: Iterable[ServedAdapter],
    pods: Iterable[Manifest],
    told: Mapping[str, LoadedAdapters],
    at_least: int,
) -> Loading:
    """Return the newest versions that every pod which answers has, else those of before.

    Args:
        released: the versions that should be served, by the names that servers are given.
        served: those that requests ask for now.
        pods: of all revisions.
        told: what pods say, by their names; a pod that says nothing has nothing.
        at_least: how many pods answer by the word of their Deployments, which may be newer.
    """
    seen = {name_of(pod): pod for pod in pods if not over(pod)}
    answering = [name for name, pod in seen.items() if answers(pod)]
    # One that is told to end, and does not answer any more, never will.
    coming = (name for name, pod in seen.items() if not answers(pod) and not is_deleting(pod))
    starting = [name for name in coming if name in told]
    # Where nobody answers, perhaps for want of what answered before, those that start decide.
    everyone = bool(answering or starting) and len(answering) >= at_least
    before = {one.name: one for one in served}
    found: list[ServedAdapter] = []
    waiting: Failure | None = None
    for adapter in released:
        old = before.get(adapter.name)
        if old is not None and old.served_as == adapter.served_as:
            # A pod that lost it is not ready, and does not answer without it.
            found.append(adapter)
            waiting = waiting or _refused(adapter, seen, told)
            continue
        lacking = [name for name in answering or starting if not _has(told.get(name), adapter)]
        if answering:
            # One that has not heard of it yet could answer the next moment, and not have it.
            lacking += [name for name in starting if adapter.served_as not in told[name].told]
        if everyone and not lacking:
            found.append(adapter)
            continue
        if old is not None:
            found.append(old)
        waiting = waiting or _why(adapter, {name: seen[name] for name in lacking}, told, old)
    return Loading(tuple(found), waiting)


def _has(told: LoadedAdapters | None, adapter: ServedAdapter) -> bool:
    """Tell whether a pod has a version and keeps it: one that its file does not name may go."""
    name = adapter.served_as
    return told is not None and name in told.loaded and name in told.told


def _why(
    adapter: ServedAdapter,
    lacking: Mapping[str, Manifest],
    told: Mapping[str, LoadedAdapters],
    old: ServedAdapter | None,
) -> Failure:
    which = _which(adapter)
    version = f"version {old.version}" if old and old.version else "the one before"
    until = f"until then {version} answers" if old else "until then the model answers without it"
    refused = _refused(adapter, lacking, told)
    if refused:
        return Failure(refused.reason, f"{refused.message}; {until}")
    for name, pod in lacking.items():
        if name not in told and is_loader(pod):
            message = (
                f"pod {name} does not tell whether it has {which}; {until}. The operator has to "
                f"reach port {LOADER_PORT} of it"
            )
            return Failure("AdapterUnknown", message)
    return Failure(LOADING, f"{which} is being loaded; {until}")


def _refused(
    adapter: ServedAdapter, pods: Iterable[str], told: Mapping[str, LoadedAdapters]
) -> Failure | None:
    for name in pods:
        words = told[name].refused.get(adapter.served_as or "") if name in told else None
        if words:
            told_so = f"pod {name} cannot take {_which(adapter)}: {words[:MOST_WORDS]}"
            return Failure("AdapterRefused", told_so)
    return None


def _which(adapter: ServedAdapter) -> str:
    number = f" (version {adapter.version})" if adapter.version else ""
    return f"adapter {adapter.name!r}{number}"
