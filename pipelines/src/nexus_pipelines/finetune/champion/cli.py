"""`nexus-pipelines finetune-champion`: tell which version is champion; nothing is changed."""

import argparse

from nexus_pipelines.arguments import write_output
from nexus_pipelines.environment import Environment
from nexus_pipelines.finetune.arguments import add_run, job_key
from nexus_pipelines.finetune.release import core
from nexus_pipelines.finetune.store import compact
from nexus_registry import Champions, Connection, NotFound, Outcome, Releases, Versions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    add_run(parser)
    parser.add_argument("--release-out", required=True, help="file for the champion, JSON")


def run(args: argparse.Namespace) -> None:
    """Do the step; a job that has no champion is told so, as `null`."""
    environment, key = Environment(), job_key(args)
    connection, model = Connection(environment.tracking_url), core.model_of(key)
    releases = _releases(connection, model).of(args.uid)
    if releases.champion is None:
        write_output(args.release_out, compact({"champion": None}))
        return
    version = Versions(connection).version(model, releases.champion)
    last = releases.last.number if releases.last else None
    outcome = Outcome(champion=version, previous=releases.previous, move=last, moved=False)
    write_output(args.release_out, compact(core.told(outcome, key, environment.models_url)))


def _releases(connection: Connection, model: str) -> Releases:
    try:
        return Champions(connection).releases(model)
    except NotFound:  # nothing of the job was ever registered
        return Releases()
