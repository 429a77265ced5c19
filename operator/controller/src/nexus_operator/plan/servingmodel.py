"""The plan of a ServingModel: one Deployment for each revision, and a Service on the live one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nexus_api.meta import Manifest
from nexus_api.ragindex import RagIndex
from nexus_api.servingmodel import ServingModel
from nexus_api.uri import parse_uri
from nexus_operator.build.engines import ENGINES, engine_of
from nexus_operator.build.loading import adapters_map, is_loader, loads_adapters
from nexus_operator.build.pod import pod_template
from nexus_operator.build.revision import REVISION_LABEL
from nexus_operator.build.serving import deployment, released_template, service
from nexus_operator.objects import annotations_of, is_deleting, labels_of, owner_uids, ref_of
from nexus_operator.plan.adapters import Resolved, resolved
from nexus_operator.plan.guards import (
    foreign,
    guard,
    missing_claim,
    needless_guards,
    wanted_guards,
)
from nexus_operator.plan.loading import Loading, loading, wanted_revision
from nexus_operator.plan.looks import SETTLED_LOOK
from nexus_operator.plan.model import Doomed, Plan, Seen, doomed
from nexus_operator.plan.monitoring import look_for_kinds, monitored, wanted_monitor
from nexus_operator.plan.rollout import Revision, live_revision, superseded
from nexus_operator.settings import Settings
from nexus_operator.status.address import service_url
from nexus_operator.status.conditions import transitions
from nexus_operator.status.failure import Failure
from nexus_operator.status.pods import answers, strength, trouble
from nexus_operator.status.servingmodel import Serving, Side, servingmodel_status

LOOK_AGAIN = timedelta(seconds=5)
"""While something moves: pods are not watched, their reasons are read at the next look."""


@dataclass(frozen=True, kw_only=True)
class _View:
    """What was seen, sorted."""

    revisions: Sequence[Revision]
    pods: Sequence[Manifest]
    service: Manifest | None
    foreign: Manifest | None

    def find(self, name: str | None) -> Revision | None:
        return next((one for one in self.revisions if one.name == name), None)

    def side(self, name: str | None) -> Side | None:
        if name is None:
            return None
        revision = self.find(name)
        found = revision.deployment if revision else None
        pods = [pod for pod in self.pods if labels_of(pod).get(REVISION_LABEL) == name]
        return Side(name=name, strength=strength(found), trouble=trouble(found, pods))

    def others_answer(self, live: str | None) -> bool:
        """Whether a request may still reach another revision than the live one."""
        pods = (one for one in self.pods if answers(one))
        return any(one.answers and one.name != live for one in self.revisions) or any(
            labels_of(pod).get(REVISION_LABEL) != live for pod in pods
        )


@dataclass(frozen=True, kw_only=True)
class _Release:
    """The wanted revision as it is to be."""

    name: str
    template: Manifest
    outdated: bool
    progress_seconds: int


def plan_servingmodel(model: ServingModel, seen: Seen, settings: Settings, now: datetime) -> Plan:
    """Decide what the cluster should hold for one ServingModel.  Pure: same inputs, same plan."""
    view = _view(model, seen)
    released = resolved(model, seen)
    if not loads_adapters(model):
        model = released.model
    hindrance = _hindrance(model, view, settings)
    present = {one.name for one in view.revisions}
    wanted = None if hindrance else wanted_revision(model, released, present)
    live = live_revision(wanted, model.status.live_revision, view.revisions)
    stopping = wanted is not None and _must_wait(model, wanted, view)
    release = None if wanted is None else _release(model, wanted, view, settings)
    switched = wanted is not None and wanted == live and not view.others_answer(live)
    selected = live or wanted
    template = _template(selected, release, view)
    engine = (engine_of(template) if template else None) or model.spec.engine()
    fixed = released.adapters if switched else tuple(model.status.adapters)
    adapters = Loading(fixed, None)
    if release is not None and is_loader(release.template):
        adapters = _adapters(model, released, view, seen, live=live)
    create: tuple[Manifest, ...] = ()
    apply: list[Manifest] = []
    delete: tuple[Doomed, ...] = ()
    if selected and view.foreign is None and not model.deleting:
        apply += wanted_guards(model, selected, settings)
        apply += wanted_monitor(model, seen, settings)
        apply.append(service(model, selected, engine))
        delete += needless_guards(model, seen)
    if release is not None and not model.deleting:
        if is_loader(release.template):
            given = released.as_loaded()
            apply.append(adapters_map(model, given, adapters.adapters, settings))
        if not stopping:
            create = missing_claim(model, release.template, seen, settings)
            create += _first_replicas(model, release, live, view, settings)
            apply.append(_deployment(model, release, _replicas(model, release, view, settings)))
        delete += _surplus(model, release.name, live, view)
    serving = Serving(
        wanted=view.side(wanted),
        live=view.side(live),
        hindrance=hindrance,
        stopping=stopping,
        index=_index(model, seen),
        outdated=release is not None and release.outdated,
        engine=engine if selected else None,
        url=service_url(view.service) if view.service else None,
        autoscaler=guard(model, seen, "HorizontalPodAutoscaler"),
        autoscales=settings.on_kubernetes,
        adapters=adapters.adapters,
        registry=released.registry,
        unreleased=released.waiting or adapters.waiting,
        monitored=monitored(model, seen, settings, template),
    )
    status = servingmodel_status(model, serving, now)
    old = [one.manifest() for one in model.status.conditions]
    still = serving.settled and switched and not delete and adapters.waiting is None
    return Plan(
        status=status,
        create=create,
        apply=tuple(apply),
        delete=delete,
        events=transitions(old, status["conditions"]),
        requeue_after=look_for_kinds(seen, SETTLED_LOOK)
        if still
        else adapters.look_again or LOOK_AGAIN,
    )


def _adapters(
    model: ServingModel, released: Resolved, view: _View, seen: Seen, *, live: str | None
) -> Loading:
    """Return the adapters that requests may ask for, of a revision that is given them."""
    living = view.find(live)
    ready = living.strength.ready if living else 0
    served = tuple(model.status.adapters)
    return loading(released.as_loaded(), served, view.pods, seen.loaded, ready)


def _view(model: ServingModel, seen: Seen) -> _View:
    uid = model.metadata.uid
    owned = [one for one in seen.of_kind("Deployment") if uid in owner_uids(one)]
    found = seen.child("Service", model.metadata.name)
    return _View(
        revisions=[Revision.of(one) for one in owned],
        pods=seen.of_kind("Pod"),
        service=found if found is not None and uid in owner_uids(found) else None,
        foreign=foreign(model, seen),
    )


def _hindrance(model: ServingModel, view: _View, settings: Settings) -> Failure | None:
    """Return why the spec cannot be run here."""
    spec = model.spec
    engine = spec.engine()
    engines = settings.engines & ENGINES.keys()
    if engine not in engines:
        offered = ", ".join(sorted(engines)) or "none"
        message = (
            f"The model needs the engine {engine}, which this platform does not offer "
            f"(it offers {offered}): choose another spec.model.uri or spec.runtime.engine"
        )
        return Failure("EngineNotOffered", message)
    if spec.runtime.profile not in settings.profiles:
        offered = ", ".join(sorted(settings.profiles))
        message = (
            f"spec.runtime.profile names {spec.runtime.profile!r}, which this platform does not "
            f"have (it has {offered})"
        )
        return Failure("UnknownProfile", message)
    if spec.model.revision and parse_uri(spec.model.uri).scheme != "hf":
        message = (
            f"spec.model.revision goes with hf:// addresses only, and spec.model.uri is "
            f"{spec.model.uri}: leave revision out"
        )
        return Failure("RevisionNotOffered", message)
    if view.foreign is not None:
        message = (
            f"{ref_of(view.foreign)} is there already and belongs to somebody else: "
            "delete it, or give the model another name"
        )
        return Failure("NameConflict", message)
    return None


def _release(model: ServingModel, wanted: str, view: _View, settings: Settings) -> _Release:
    """Return the wanted revision, and whether the platform has a newer form of it.

    A revision keeps the pod template it was released with, so that an upgrade restarts no pod.
    """
    profile = settings.profiles[model.spec.runtime.profile]
    runtime = ENGINES[model.spec.engine()].build(model, settings, profile)
    fresh = pod_template(model, wanted, runtime, settings, profile)
    present = view.find(wanted)
    released = released_template(annotations_of(present.deployment)) if present else None
    return _Release(
        name=wanted,
        template=fresh if released is None else released,
        outdated=released is not None and released != fresh,
        progress_seconds=runtime.progress_seconds,
    )


def _deployment(model: ServingModel, release: _Release, replicas: int | None) -> Manifest:
    return deployment(
        model,
        release.name,
        release.template,
        replicas=replicas,
        progress_seconds=release.progress_seconds,
    )


def _template(selected: str | None, release: _Release | None, view: _View) -> Manifest | None:
    """Return the pods of the revision that is selected; the spec may want others by now."""
    found = view.find(selected)
    if found is not None:
        return dict(found.deployment["spec"]["template"])
    return release.template if release is not None and release.name == selected else None


def _must_wait(model: ServingModel, wanted: str, view: _View) -> bool:
    """Tell whether old processes have to stop before new ones start."""
    if model.spec.release.strategy != "Recreate":
        return False
    running = {one.name for one in view.revisions}
    running |= {labels_of(pod).get(REVISION_LABEL, wanted) for pod in view.pods}
    return bool(running - {wanted})


def _surplus(model: ServingModel, wanted: str, live: str | None, view: _View) -> tuple[Doomed, ...]:
    if model.spec.release.strategy == "Recreate":
        return doomed(one.deployment for one in view.revisions if one.name != wanted)
    found = view.service
    chosen = (found["spec"].get("selector") or {}) if found and not is_deleting(found) else {}
    going = superseded(wanted, live, chosen.get(REVISION_LABEL), view.revisions)
    return doomed(one.deployment for one in going)


def _replicas(
    model: ServingModel, release: _Release, view: _View, settings: Settings
) -> int | None:
    """Return the number of replicas to apply, None where an autoscaler decides.

    An autoscaler takes 0 for its own switch and leaves it there, so a Deployment that somebody
    scaled to 0 is brought back to 1, which is also what stays once the field is left out again.
    """
    scaling = model.spec.autoscaling
    if scaling is None:
        return model.spec.replicas
    if not settings.on_kubernetes:
        return scaling.min_replicas
    present = view.find(release.name)
    return 1 if present and present.deployment["spec"].get("replicas") == 0 else None


def _first_replicas(
    model: ServingModel, release: _Release, live: str | None, view: _View, settings: Settings
) -> tuple[Manifest, ...]:
    """Return the Deployment to make before an autoscaler has it: as strong as the live one.

    It is created, not applied: what we once applied and then leave out would fall back to 1.
    """
    scaling = model.spec.autoscaling
    if scaling is None or not settings.on_kubernetes or view.find(release.name) is not None:
        return ()
    before = view.find(live)
    running = before.strength.wanted if before else 0
    replicas = min(max(running, scaling.min_replicas), scaling.max_replicas)
    return (_deployment(model, release, replicas),)


def _index(model: ServingModel, seen: Seen) -> RagIndex | None:
    if model.spec.knowledge is None:
        return None
    found = seen.reference("RagIndex", model.spec.knowledge.rag_index_ref.name)
    return None if found is None else RagIndex.model_validate(found)
