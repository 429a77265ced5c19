"""The status of a ServingModel, in words for a person."""

from dataclasses import dataclass
from datetime import datetime

from nexus_api.meta import MODEL_LABEL, Manifest
from nexus_api.ragindex import RagIndex
from nexus_api.servingmodel import Engine, ServedAdapter, ServingModel
from nexus_operator.status.autoscaling import autoscaling_finding
from nexus_operator.status.conditions import Finding, merge
from nexus_operator.status.failure import Failure
from nexus_operator.status.pods import NO_ROOM, Strength


@dataclass(frozen=True, kw_only=True)
class Side:
    """One revision as it stands."""

    name: str
    strength: Strength
    trouble: Failure | None


@dataclass(frozen=True, kw_only=True)
class Serving:
    """Where a model stands.

    Attributes:
        wanted: the revision that the spec asks for; None when it cannot be run here.
        live: the revision that answers, or that answered last.
        hindrance: why the spec cannot be run here, if so.
        stopping: whether the new revision waits for the old one to stop (Recreate).
        index: the RagIndex that the spec names, None when it is not there.
        outdated: whether the platform would now start this revision in another form.
        engine: the engine of the revision that answers, or that will.
        url: where the Service answers.
        autoscaler: the autoscaler, None when there is none.
        autoscales: whether there are autoscalers here at all.
        adapters: those that everything which can still be reached has.
        registry: whether the spec names an adapter of the registry.
        unreleased: why such an adapter is left out, if so.
        monitored: whether Prometheus is told of the runtimes, None where it is not to be.
    """

    wanted: Side | None
    live: Side | None
    hindrance: Failure | None = None
    stopping: bool = False
    index: RagIndex | None = None
    outdated: bool = False
    engine: Engine | None = None
    url: str | None = None
    autoscaler: Manifest | None = None
    autoscales: bool = False
    adapters: tuple[ServedAdapter, ...] = ()
    registry: bool = False
    unreleased: Failure | None = None
    monitored: Finding | None = None

    @property
    def settled(self) -> bool:
        """Whether the wanted revision is live with all its replicas."""
        wanted, live = self.wanted, self.live
        return bool(wanted and live and wanted.name == live.name and wanted.strength.full)


def servingmodel_status(model: ServingModel, serving: Serving, now: datetime) -> Manifest:
    """Return the whole status; a field that is None is to be cleared."""
    findings = [
        _ready(model, serving),
        _progressing(serving),
        _degraded(serving),
        _capacity(serving),
        _update(serving),
    ]
    drop = frozenset({"Autoscaling"})
    if model.spec.autoscaling is not None:
        offered = serving.autoscales
        findings.append(
            autoscaling_finding(model.spec.autoscaling, serving.autoscaler, offered=offered)
        )
        drop = frozenset()
    if serving.registry or serving.unreleased:
        findings.append(_adapters(serving))
    else:
        drop |= {"AdapterNotReleased"}
    if serving.monitored is not None:
        findings.append(serving.monitored)
    else:
        drop |= {"Monitored"}
    shown = serving.live or serving.wanted
    moving = serving.wanted and (not serving.live or serving.live.name != serving.wanted.name)
    old = [one.manifest() for one in model.status.conditions]
    generation = model.metadata.generation
    return {
        "observedGeneration": generation,
        "conditions": merge(old, findings, generation=generation, now=now, drop=drop),
        "replicas": shown.strength.existing if shown else 0,
        "readyReplicas": shown.strength.ready if shown else 0,
        "selector": f"{MODEL_LABEL}={model.metadata.name}",
        "liveRevision": serving.live.name if serving.live else None,
        "candidateRevision": serving.wanted.name if serving.wanted and moving else None,
        "engine": serving.engine,
        "adapters": [one.manifest() for one in serving.adapters] or None,
        "url": serving.url,
    }


def _ready(model: ServingModel, serving: Serving) -> Finding:
    missing = _index_missing(model, serving)
    if missing:
        return Finding("Ready", False, missing.reason, f"{missing.message}.")
    live = serving.live
    if live is None or live.strength.ready == 0:
        why = _why_down(serving)
        return Finding("Ready", False, why.reason, f"{why.message}.")
    waiting = _index_waiting(model, serving)
    if waiting:
        return Finding("Ready", False, waiting.reason, f"{waiting.message}.")
    message = f"Revision {live.name} answers with {_of(live.strength)}."
    return Finding("Ready", True, "Serving", message)


def _index_missing(model: ServingModel, serving: Serving) -> Failure | None:
    knowledge = model.spec.knowledge
    if knowledge is None or serving.index is not None:
        return None
    name = f"{model.metadata.namespace}/{knowledge.rag_index_ref.name}"
    return Failure(
        "IndexNotFound",
        f"There is no RagIndex {name}, which spec.knowledge.ragIndexRef names: "
        "create it, or correct the name",
    )


def _index_waiting(model: ServingModel, serving: Serving) -> Failure | None:
    if model.spec.knowledge is None or serving.index is None:
        return None
    index = serving.index
    ready = next((one for one in index.status.conditions if one.type == "Ready"), None)
    if ready is not None and ready.status == "True":
        return None
    name = f"{index.metadata.namespace}/{index.metadata.name}"
    why = f" ({ready.reason})" if ready else ""
    return Failure("IndexNotReady", f"RagIndex {name} cannot be searched yet{why}")


def _why_down(serving: Serving) -> Failure:
    """Return why nothing answers."""
    if serving.hindrance:
        return serving.hindrance
    if serving.stopping:
        return Failure("Recreating", "The old revision stops before the new one starts")
    for side in (serving.wanted, serving.live):
        if side and side.trouble:
            return Failure(side.trouble.reason, f"Revision {side.name}: {side.trouble.message}")
    name = serving.wanted.name if serving.wanted else "of the model"
    return Failure("Starting", f"Revision {name} is starting")


def _progressing(serving: Serving) -> Finding:
    if serving.hindrance:
        said = serving.hindrance
        return Finding("Progressing", False, said.reason, f"{said.message}.")
    wanted, live = serving.wanted, serving.live
    if wanted is None or serving.settled:
        name = live.name if live else "unknown"
        return Finding("Progressing", False, "Settled", f"Revision {name} is live.")
    if serving.stopping:
        message = f"Revision {wanted.name} starts when the old one has stopped."
        return Finding("Progressing", True, "Recreating", message)
    beside = live is not None and live.name != wanted.name and live.strength.ready > 0
    goes_on = f" Revision {live.name} answers until then." if live and beside else ""
    if wanted.trouble:
        message = f"Revision {wanted.name} does not get ready: {wanted.trouble.message}.{goes_on}"
        return Finding("Progressing", True, wanted.trouble.reason, message)
    message = f"Revision {wanted.name} is starting, {_of(wanted.strength)} ready.{goes_on}"
    return Finding("Progressing", True, "Surging" if beside else "Starting", message)


def _degraded(serving: Serving) -> Finding:
    live = serving.live
    if live is None:
        return Finding("Degraded", False, "NotLive", "No revision has answered yet.")
    if live.strength.full:
        return Finding("Degraded", False, "Healthy", "No trouble is known.")
    if live.trouble:
        message = f"Revision {live.name}, which is live: {live.trouble.message}."
        return Finding("Degraded", True, live.trouble.reason, message)
    if live.strength.ready == 0:
        message = f"Revision {live.name} was live and does not answer now."
        return Finding("Degraded", True, "NotAnswering", message)
    return Finding("Degraded", False, "Scaling", "Replicas are being added or replaced.")


def _capacity(serving: Serving) -> Finding:
    found = serving.wanted.trouble if serving.wanted else None
    if found and found.reason in NO_ROOM:
        message = (
            f"The cluster has no room for the revision: {found.message}. Where old and new do "
            "not fit together, spec.release.strategy Recreate stops the old one first."
        )
        return Finding("InsufficientCapacity", True, found.reason, message)
    return Finding("InsufficientCapacity", False, "Fits", "No pod waits for a node or a quota.")


def _update(serving: Serving) -> Finding:
    if serving.outdated:
        message = (
            "The platform has a newer image or profile for this revision; it takes effect with "
            "the next change of the model, or when llmops.nexus/update-requested-at is set anew."
        )
        return Finding("UpdateAvailable", True, "PlatformChanged", message)
    return Finding("UpdateAvailable", False, "Current", "The revision has its present form.")


def _adapters(serving: Serving) -> Finding:
    waiting = serving.unreleased
    if waiting is not None:
        return Finding("AdapterNotReleased", True, waiting.reason, f"{waiting.message}.")
    told = ", ".join(f"{one.name} (version {one.version})" for one in serving.adapters)
    message = f"The revision that answers has {told}." if told else "Its revision is starting."
    return Finding("AdapterNotReleased", False, "Released", message)


def _of(strength: Strength) -> str:
    return f"{strength.ready} of {_replicas(strength.wanted)}"


def _replicas(number: int) -> str:
    return f"{number} replica{'' if number == 1 else 's'}"
