"""A revision of a ServingModel: what, when it changes, needs new processes."""

from nexus_api.meta import GROUP, MODEL_LABEL, Manifest
from nexus_api.servingmodel import ServingModel
from nexus_operator.build.loading import loads_adapters
from nexus_operator.build.metadata import labels
from nexus_operator.naming import short_hash

REVISION_LABEL = f"{GROUP}/revision"

UPDATE_REQUESTED = f"{GROUP}/update-requested-at"
"""Annotation of a ServingModel: a new value asks for a new revision by the platform's present
images and profiles, which by themselves restart nothing."""


def revision_of(model: ServingModel) -> str:
    """Return the revision's short hash.

    It covers what the spec says of weights and runtime.  Images, profiles, the form of the pod and
    fields that stand at their default (a later release may have more of them) are left out: an
    upgrade of the platform must not restart what users run.  Of adapters that are loaded while the
    server runs only the number counts.
    """
    parts = _parts(model)
    if loads_adapters(model):
        parts["model"]["adapters"] = len(model.spec.model.adapters)
    return _hashed(model, parts)


def fixed_revision_of(model: ServingModel) -> str:
    """Return the hash of a revision that has its adapters from its start.

    Earlier releases had such of vLLM, too, and what they started is not restarted.
    """
    return _hashed(model, _parts(model))


def _parts(model: ServingModel) -> Manifest:
    spec = model.spec
    parts: Manifest = {
        "model": spec.model.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "runtime": spec.runtime.model_dump(mode="json", by_alias=True, exclude_defaults=True),
    }
    parts["runtime"]["engine"] = spec.engine()
    return parts


def _hashed(model: ServingModel, parts: Manifest) -> str:
    asked = model.metadata.annotations.get(UPDATE_REQUESTED)
    return short_hash(parts, asked) if asked else short_hash(parts)


def selector(model: ServingModel, revision: str) -> dict[str, str]:
    """Return the labels that select the pods of one revision."""
    return {MODEL_LABEL: model.metadata.name, REVISION_LABEL: revision}


def revision_labels(model: ServingModel, revision: str) -> dict[str, str]:
    """Return the labels of a revision's Deployment and of its pods."""
    shared = labels(model, owner_label=MODEL_LABEL, component="runtime")
    return {**shared, REVISION_LABEL: revision}
