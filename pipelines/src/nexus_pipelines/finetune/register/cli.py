"""`nexus-pipelines finetune-register`: a run in MLflow, and a version of what the gate let pass."""

import argparse
import hashlib
from collections.abc import Mapping
from typing import Any

from nexus_api.release import ReleasableUnit
from nexus_evaluation.decision import Decision
from nexus_evaluation.observed import Observed
from nexus_knowledge.objects import open_store
from nexus_pipelines.arguments import write_output
from nexus_pipelines.environment import Environment
from nexus_pipelines.finetune.arguments import (
    JobKey,
    add_run,
    job_key,
    job_settings,
    run_name,
    run_store,
)
from nexus_pipelines.finetune.gate.core import EVALUATION
from nexus_pipelines.finetune.register import artifacts, core
from nexus_pipelines.finetune.register.card import model_card
from nexus_pipelines.finetune.register.evidence import GOLDEN_FILE, evidence
from nexus_pipelines.finetune.selected import golden_set
from nexus_pipelines.finetune.store import FineTuneStore, compact, inputs_digest
from nexus_pipelines.finetune.validate.profile import REPORT, Profile
from nexus_pipelines.revision import code_revision
from nexus_registry import Champions, Connection, NotFound, Run, Tracker, Version, Versions

_STEP = "register"
_DECISION, _REPORT, _CARD = "decision.json", "report.html", "model-card.md"
_UNITS = "evaluate/units.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    add_run(parser)
    parser.add_argument("--fingerprint", default="", help="of what of the spec a run depends on")
    parser.add_argument("--version-out", required=True, help="file for the version, JSON")
    parser.add_argument("--number-out", default="", help="file for the version's number alone")


def run(args: argparse.Namespace) -> None:
    """Do the step; what is done already, with the same inputs, is only told again."""
    environment, key, store = Environment(), job_key(args), run_store(args, Environment())
    candidate = _candidate(args, key, store)
    inputs = inputs_digest(version=candidate.digest, models=environment.models_url)
    outcome = store.outcome(_STEP, inputs)
    if outcome is None:
        outcome = _record(environment, key, store, candidate, owner=args.uid)
        store.put_json("register/version.json", outcome)
        store.finish(_STEP, inputs, outcome)
    write_output(args.version_out, compact(outcome))
    if args.number_out:
        write_output(args.number_out, outcome.get("version", ""))


def _candidate(args: argparse.Namespace, key: JobKey, store: FineTuneStore) -> core.Candidate:
    with store.open(f"gate/{_DECISION}") as stream:
        decision = stream.read()
    units = store.json(_UNITS)
    unit = ReleasableUnit.model_validate_json(compact(units["candidate"]))
    served = units.get("production")
    evaluation = store.find_json(EVALUATION) or {}
    # A run that was validated by the release before has none.
    profile = (store.find_json(REPORT) or {}).get("profile")
    return core.Candidate(
        model=f"{key.tenant}.{key.name}",
        run=run_name(args),
        spec=job_settings(args),
        unit=unit.model_copy(update={"adapter_uri": None}),
        production=ReleasableUnit.model_validate_json(compact(served)) if served else None,
        decision=Decision.model_validate_json(decision),
        decision_digest=hashlib.sha256(decision).hexdigest(),
        selection=store.json("select/selection.json"),
        training=store.json("train/training.json"),
        observed=Observed.of(evaluation),
        base_digest=str(evaluation.get("baseDigest", "")),
        base_licence=evaluation.get("baseLicence"),
        code=code_revision(),
        profile=Profile.model_validate(profile) if profile else None,
        fingerprint=args.fingerprint,
    )


def _record(
    environment: Environment,
    key: JobKey,
    store: FineTuneStore,
    candidate: core.Candidate,
    *,
    owner: str,
) -> dict[str, Any]:
    """Write the run, whatever the verdict; a version with its folder where that lets it pass."""
    connection = Connection(environment.tracking_url)
    with store.open(f"gate/{_DECISION}") as stream:
        kept = {_DECISION: stream.read(), **evidence(store, candidate.decision)}
    place = f"{environment.work_url.rstrip('/')}/finetunes/{key.tenant}/{key.name}/{candidate.run}"
    if not candidate.passed:
        return {"mlflowRun": _track(connection, store, candidate, kept, place=place).id}
    artifacts.check_adapter(artifacts.adapter_files(store), candidate.unit)
    kept[_CARD] = model_card(candidate).encode()
    folder = artifacts.Folder.of(
        open_store(environment.models_url), environment.models_url, *key, candidate.digest
    )
    artifacts.write_folder(folder, store, candidate.unit, kept)
    run = _track(connection, store, candidate, kept, place=place)
    takes = connection.takes(folder.uri)
    source = folder.uri if takes else artifacts.keep_with_run(folder, run)
    made = _version(connection, candidate, owner=owner, source=source, run_id=run.id)
    return {
        "model": made.model,
        "version": made.number,
        "uri": folder.uri,  # what serves asks no registry
        "digest": candidate.unit.adapter_digest,
        "unitDigest": candidate.unit.digest(),
        "mlflowRun": run.id,
    }


def _track(
    connection: Connection,
    store: FineTuneStore,
    candidate: core.Candidate,
    kept: Mapping[str, bytes],
    *,
    place: str,
) -> Run:
    """Write the run: what was asked, what was read, what came of it.

    kept: files by name that lead from the figures to the decision.  place: of the run's objects.
    """
    tracker = Tracker(connection, candidate.model)
    key = f"{candidate.model.replace('.', '/', 1)}/{candidate.run}"
    run = tracker.run(key, name=candidate.run, started=candidate.as_of)
    run.tags({**core.lineage(candidate), **core.verdict_tags(candidate)})
    run.params(core.parameters(candidate))
    run.metrics(core.measured(candidate))
    digests = {
        name: artifacts.sha256_of(store, f"select/{name}.jsonl") for name in ("train", "heldout")
    }
    own = f"runs:/{run.id}/{GOLDEN_FILE}"
    run.data(core.data_sets(candidate, place, digests, golden=own))
    theirs = store.lines("evaluate/production.jsonl") if _has_production(candidate) else ()
    questions = {item.id: item.question for item in golden_set(store).items}
    ours = store.lines("evaluate/candidate.jsonl")
    run.table("items.json", core.item_rows(ours, theirs, questions))
    for name, data in sorted(kept.items()):
        run.text(name, data.decode())
    with store.open(f"gate/{_REPORT}") as stream:
        run.text(_REPORT, stream.read().decode())
    run.finish()
    return run


def _has_production(candidate: core.Candidate) -> bool:
    return candidate.decision.production_digest is not None


def _version(
    connection: Connection, candidate: core.Candidate, *, owner: str, source: str, run_id: str
) -> Version:
    """Register the version and make it the challenger, unless it has been champion.

    What counts are the champions of its own job (`owner`, a uid), not those of a former job.
    """
    champions, versions = Champions(connection), Versions(connection)
    try:
        number = champions.releases(candidate.model).of(owner).champion
        champion = versions.version(candidate.model, number) if number else None
    except NotFound:
        champion = None
    made = versions.register(
        candidate.model,
        digest=candidate.digest,
        source=source,
        run_id=run_id,
        tags=core.version_tags(candidate, champion=champion),
        description=f"{candidate.decision.verdict}: {candidate.decision.message}"[:1000],
    )
    if made.number not in champions.releases(candidate.model).of(owner).champions:
        versions.challenge(candidate.model, made.number)
    return made
