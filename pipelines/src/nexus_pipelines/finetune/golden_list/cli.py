"""`nexus-pipelines golden-list`: golden sets with their versions, and corrections to promote."""

import argparse
from collections.abc import Iterable
from typing import Any

from nexus_evaluation.errors import BadGoldenSet
from nexus_evaluation.golden import GoldenSet, read
from nexus_knowledge.ledger import Ledger
from nexus_knowledge.objects import ObjectStore, open_store
from nexus_pipelines.arguments import write_output
from nexus_pipelines.environment import Environment
from nexus_pipelines.finetune.golden_add.versions import SetVersion, versions
from nexus_pipelines.finetune.select.feedback import correction
from nexus_pipelines.finetune.store import compact

_NEWEST = 200  # feedback that is looked at


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--namespace", required=True, help="namespace of sets and answers")
    parser.add_argument("--golden-out", required=True, help="file for what there is, JSON")


def run(args: argparse.Namespace) -> None:
    """Do it."""
    environment = Environment()
    bucket = open_store(environment.bucket_url)
    found = [(one, _read(bucket, one)) for one in versions(bucket, args.namespace)]
    with Ledger(environment.ledger_url) as ledger:
        corrections = list(_corrections(ledger, args.namespace, _promoted(found)))
    root = environment.bucket_url.rstrip("/")
    told = {
        "sets": [_told(version, golden, root) for version, golden in found],
        "corrections": corrections,
    }
    write_output(args.golden_out, compact(told))


def _read(bucket: ObjectStore, version: SetVersion) -> GoldenSet | str:
    """Return a version, or what is wrong with it."""
    try:
        with bucket.open(version.key) as stream:
            return read(stream.read(), version.key)
    except BadGoldenSet as error:
        return str(error)


def _told(version: SetVersion, golden: GoldenSet | str, root: str) -> dict[str, Any]:
    sound = isinstance(golden, GoldenSet)
    return {
        "set": version.name,
        "version": version.number,
        "items": len(golden.items) if isinstance(golden, GoldenSet) else None,
        "digest": golden.digest if isinstance(golden, GoldenSet) else "",
        "problem": "" if sound else golden,
        "uri": f"{root}/{version.key}",
    }


def _promoted(found: Iterable[tuple[SetVersion, GoldenSet | str]]) -> set[str]:
    """Return the answers that are in the newest version of some set."""
    newest = {version.name: golden for version, golden in found}  # in the order of numbers
    return {
        item.tags.get("response", "")
        for golden in newest.values()
        if isinstance(golden, GoldenSet)
        for item in golden.items
    }


def _corrections(ledger: Ledger, namespace: str, known: set[str]) -> Iterable[dict[str, Any]]:
    """Yield the corrected answers that are in no set, the newest word first."""
    said = (one.response_id for one in ledger.feedback(namespace, limit=_NEWEST))
    for response_id in dict.fromkeys(said):
        rated = ledger.rated_response(namespace, response_id)
        if rated is None or response_id in known:
            continue
        corrected, _ = correction(rated)
        if corrected:
            response = rated.response
            yield {
                "response": response_id,
                "model": response.model,
                "question": response.question,
                "correction": corrected,
            }
