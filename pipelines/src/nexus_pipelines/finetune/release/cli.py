"""`nexus-pipelines finetune-release`: make a version the champion."""

import argparse

from nexus_knowledge.objects import open_store
from nexus_pipelines.arguments import write_output
from nexus_pipelines.environment import Environment
from nexus_pipelines.errors import StepError
from nexus_pipelines.finetune.arguments import job_key
from nexus_pipelines.finetune.register.artifacts import Folder, stored_adapter_digest
from nexus_pipelines.finetune.register.core import ADAPTER_TAG
from nexus_pipelines.finetune.release import core
from nexus_pipelines.finetune.store import compact
from nexus_registry import Champions, Connection, Version, Versions
from nexus_registry.versions import DIGEST_TAG


class VersionDamaged(StepError):
    """The files of a version are not those that were registered."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    core.add_arguments(parser)
    parser.add_argument("--version", required=True, help="number of the version")


def run(args: argparse.Namespace) -> None:
    """Do the step; a repetition moves nothing."""
    environment, key = Environment(), job_key(args)
    connection, model = Connection(environment.tracking_url), core.model_of(key)
    version = Versions(connection).version(model, args.version)
    digest = version.tags.get(DIGEST_TAG, "")
    if not digest:
        raise VersionDamaged(
            f"version {version.number} of {model} cannot be released: no run registered it, so "
            "nobody knows its files; promote one that `finetune-register` made"
        )
    folder = Folder.of(open_store(environment.models_url), environment.models_url, *key, digest)
    _check_files(version, folder)
    asked = core.asked(args, f"version {args.version}")
    outcome = Champions(connection).promote(model, args.version, asked)
    write_output(args.release_out, compact(core.told(outcome, key, environment.models_url)))


def _check_files(version: Version, folder: Folder) -> None:
    """See that what would be served is there and is what was registered."""
    found = stored_adapter_digest(folder)
    # A version that somebody made by hand names no adapter, and nothing is no match for nothing.
    if found is None or found != version.tags.get(ADAPTER_TAG):
        raise VersionDamaged(
            f"version {version.number} of {version.model} cannot be released: {folder.uri} "
            f"{'is not whole' if found is None else 'does not hold what was registered'}; "
            "restore the folder from a back-up, or start another run"
        )
