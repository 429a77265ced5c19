"""What a move of the champion is told, and what it tells."""

import argparse
from datetime import UTC, datetime
from typing import Any

from nexus_pipelines.finetune.arguments import JobKey, add_run, run_name
from nexus_pipelines.finetune.register.artifacts import folder_prefix
from nexus_pipelines.finetune.register.core import ADAPTER_TAG, FINGERPRINT_TAG, UNIT_TAG
from nexus_registry import GATE, Asked, Outcome, Version
from nexus_registry.versions import DIGEST_TAG


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what release and rollback both take."""
    add_run(parser)
    parser.add_argument("--by", required=True, help="`gate`, or the name of a person")
    parser.add_argument("--release-out", required=True, help="file for the champion, JSON")


def model_of(key: JobKey) -> str:
    """Return the name of a job's registered model."""
    return f"{key.tenant}.{key.name}"


def asked(args: argparse.Namespace, what: str) -> Asked:
    """Say who asks for a move; the Workflow's name is the request, so a retry moves nothing."""
    who = "a passed gate" if args.by == GATE else "a person"
    return Asked(
        request=run_name(args),
        by=args.by,
        why=f"{what} asked for by {who}",
        at=datetime.now(UTC),
        owner=args.uid,
    )


def folder_uri(models_url: str, key: JobKey, version: Version) -> str:
    """Return where a version lies: below the model store as it is now, which may have moved."""
    digest = version.tags.get(DIGEST_TAG, "")
    return f"{models_url.rstrip('/')}/{folder_prefix(*key, digest)}"


def told(outcome: Outcome, key: JobKey, models_url: str) -> dict[str, Any]:
    """Return what the operator writes into the job's status."""
    champion = outcome.champion
    return {
        "champion": champion.number,
        "previous": outcome.previous,
        "move": outcome.move,
        "uri": folder_uri(models_url, key, champion),
        "digest": champion.tags.get(ADAPTER_TAG, ""),
        "unitDigest": champion.tags.get(UNIT_TAG, ""),
        "fingerprint": champion.tags.get(FINGERPRINT_TAG, ""),
        "moved": outcome.moved,
    }
