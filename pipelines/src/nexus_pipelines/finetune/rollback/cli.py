"""`nexus-pipelines finetune-rollback`: make the champion before the champion again.

Only the registry is asked: a rollback works while the model store is away.
"""

import argparse

from nexus_pipelines.arguments import write_output
from nexus_pipelines.environment import Environment
from nexus_pipelines.finetune.arguments import job_key
from nexus_pipelines.finetune.release import core
from nexus_pipelines.finetune.store import compact
from nexus_registry import Champions, Connection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    core.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Do the step; a repetition moves nothing."""
    environment, key = Environment(), job_key(args)
    champions = Champions(Connection(environment.tracking_url))
    outcome = champions.roll_back(core.model_of(key), core.asked(args, "a rollback"))
    write_output(args.release_out, compact(core.told(outcome, key, environment.models_url)))
