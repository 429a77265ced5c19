"""What a FineTuneJob's candidate is compared with: the unit that serves now."""

import json

from nexus_api.finetunejob import FineTuneJob
from nexus_api.release import ReleasableUnit
from nexus_api.servingmodel import ServingModel
from nexus_api.tuning_status import Champion
from nexus_operator.plan.model import Seen


def served_by(job: FineTuneJob, seen: Seen) -> ServingModel | None:
    """Return the ServingModel that a job promotes to, None when it names none that is there."""
    named = job.spec.promotion.serving_model_ref
    found = seen.reference("ServingModel", named.name) if named else None
    return ServingModel.model_validate(found) if found is not None else None


def production_unit(job: FineTuneJob, model: ServingModel | None) -> ReleasableUnit | None:
    """Return what serves, None when the job neither names a ServingModel nor has a champion.

    A ServingModel answers with the champion's adapter when it names it, else with its base alone.
    """
    champion = job.status.champion
    if model is None:
        base = job.spec.base_model
        unit = ReleasableUnit(base=base.uri, base_revision=base.revision)
        return _with_adapter(unit, champion) if champion is not None else None
    spec = model.spec
    unit = ReleasableUnit(
        base=spec.model.uri,
        base_revision=spec.model.revision,
        quantization=spec.model.quantization,
        context_tokens=spec.runtime.context_tokens,
        temperature=spec.generation.temperature,
        max_tokens=spec.generation.max_tokens,
        engine=spec.engine(),
    )
    if spec.knowledge is not None:
        told = {
            "prompt": spec.knowledge.prompt.system or "",
            "prompt_tokens": spec.knowledge.prompt_tokens,
        }
        unit = unit.model_copy(update=told)
    return _with_adapter(unit, champion if serves_champion(job, model) else None)


def champion_address(job: FineTuneJob) -> str:
    """Return the address by which a ServingModel names whatever version a job has released."""
    return f"models:/{job.metadata.namespace}.{job.metadata.name}@champion"


def serves_champion(job: FineTuneJob, model: ServingModel) -> bool:
    """Tell whether a ServingModel serves what a job releases."""
    return any(one.uri == champion_address(job) for one in model.spec.model.adapters)


def production_text(unit: ReleasableUnit | None) -> str:
    """Return a unit as compact JSON, empty for none; `{{` of a prompt as an escape."""
    if unit is None:
        return ""
    text = json.dumps(unit.manifest(), sort_keys=True, separators=(",", ":"))
    return text.replace("{{", "{\\u007b")


def _with_adapter(unit: ReleasableUnit, champion: Champion | None) -> ReleasableUnit:
    if champion is None or not champion.uri or not champion.digest:
        return unit
    told = {"adapter_uri": champion.uri, "adapter_digest": champion.digest}
    return unit.model_copy(update=told)
