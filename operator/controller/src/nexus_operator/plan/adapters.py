"""From the adapters that a ServingModel names to those that it can load now.  Pure.

`models:/NAMESPACE.JOB@champion` (or `@previous`, or a number) is resolved by the status of the
FineTuneJob.  What that status no longer tells, after a restore say, stays as it is served.
`@challenger` is the version that waits for a person, and nothing once there is none: what was asked
in its name is not to be answered by what was decided upon since.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import Manifest
from nexus_api.servingmodel import Adapter, ServedAdapter, ServingModel
from nexus_api.tuning_status import RegisteredVersion
from nexus_api.uri import Uri, parse_uri
from nexus_operator.build.loading import as_loaded
from nexus_operator.plan.model import Seen
from nexus_operator.status.failure import Failure

CHALLENGER = "challenger"
"""Alias of the version that waits for a person."""


@dataclass(frozen=True)
class Resolved:
    """A model as it can be run now.

    Attributes:
        model: with the adapters' folders and digests for their addresses in the registry.
        adapters: the same adapters, as the status shows them.
        waiting: why an adapter is left out, the first one.
        registry: whether the spec names an adapter of the registry at all.
    """

    model: ServingModel
    adapters: tuple[ServedAdapter, ...]
    waiting: Failure | None
    registry: bool

    def as_loaded(self) -> tuple[ServedAdapter, ...]:
        """Return the adapters under the names that servers are given for these versions."""
        return tuple(map(as_loaded, self.adapters))


def named_jobs(spec: Mapping[str, object], namespace: str) -> frozenset[str]:
    """Return the FineTuneJobs of a namespace that a ServingModel's spec (plain JSON) names."""
    model = spec.get("model")
    adapters = model.get("adapters") if isinstance(model, Mapping) else None
    found = set()
    for adapter in adapters or []:
        uri = str(adapter.get("uri", ""))
        owner, dot, job = uri.removeprefix("models:/").partition(".")
        if uri.startswith("models:/") and dot and owner == namespace:
            found.add(job.partition("@")[0].partition("/")[0])
    return frozenset(found)


def resolved(model: ServingModel, seen: Seen) -> Resolved:
    """Return the model with its adapters as they are released now."""
    found: list[ServedAdapter] = []
    waiting: Failure | None = None
    registry = False
    for adapter in model.spec.model.adapters:
        if not adapter.uri.startswith("models:/"):
            found.append(_plain(adapter))
            continue
        registry = True
        released = _released(adapter, model, seen)
        if isinstance(released, ServedAdapter):
            found.append(released)
        else:
            waiting = waiting or released
    if not registry:
        return Resolved(model, tuple(found), None, registry=False)
    # Not validated: the runtime judges what a status says, and a plan must not fail on it.
    loaded = [
        Adapter.model_construct(name=one.name, uri=one.source, digest=one.digest) for one in found
    ]
    source = model.spec.model.model_copy(update={"adapters": loaded})
    spec = model.spec.model_copy(update={"model": source})
    fresh = model.model_copy(update={"spec": spec})
    return Resolved(fresh, tuple(found), waiting, registry=True)


def _plain(adapter: Adapter) -> ServedAdapter:
    return ServedAdapter(
        name=adapter.name, uri=adapter.uri, source=adapter.uri, digest=adapter.digest
    )


def _released(adapter: Adapter, model: ServingModel, seen: Seen) -> ServedAdapter | Failure:
    address = parse_uri(adapter.uri)
    namespace, _, name = address.name.partition(".")
    if namespace != model.metadata.namespace or not name:
        return Failure(
            "OtherNamespace",
            f"{adapter.uri} is no model of namespace {model.metadata.namespace}: write "
            f"models:/{model.metadata.namespace}.JOB@champion",
        )
    job = _job(seen.reference("FineTuneJob", name))
    waits = address.revision == CHALLENGER
    version = _version(address, job) if job is not None else None
    if version is not None and version.uri:
        return ServedAdapter(
            name=adapter.name,
            uri=adapter.uri,
            source=version.uri,
            digest=version.digest or "",
            version=version.version,
        )
    served = next((one for one in model.status.adapters if one.name == adapter.name), None)
    over = waits and job is not None and job.status.observed_generation is not None
    if served is not None and served.uri == adapter.uri and not over:
        return served
    if job is None:
        return Failure(
            "JobNotFound", f"There is no FineTuneJob {namespace}/{name}, which {adapter.uri} names"
        )
    lacks = _no_challenger(job) if waits else f"has released no version that {adapter.uri} means"
    return Failure(
        "NotReleased",
        f"FineTuneJob {namespace}/{name} {lacks}; until then the model answers without it",
    )


def _no_challenger(job: FineTuneJob) -> str:
    """Return why the version that waits cannot be served, mostly as there is none any more."""
    if (known := job.status.challenger) is not None:
        return f"does not tell where version {known.version}, which waits for a person, lies"
    about = (one for one in job.status.conditions if one.type == "AwaitingApproval")
    last = next((f" ({one.message.rstrip('.')})" for one in about if one.message), "")
    return f"has no version that waits for a person{last}"


def _job(manifest: Manifest | None) -> FineTuneJob | None:
    try:
        return None if manifest is None else FineTuneJob.model_validate(manifest)
    except ValidationError:
        return None  # its own condition says so; what is served stays


def _version(address: Uri, job: FineTuneJob) -> RegisteredVersion | None:
    status = job.status
    if address.revision:
        aliases = {
            "champion": status.champion,
            "previous": status.previous,
            CHALLENGER: status.challenger,
        }
        return aliases.get(address.revision)
    known = (status.champion, status.previous)
    return next((one for one in known if one and one.version == address.path), None)
