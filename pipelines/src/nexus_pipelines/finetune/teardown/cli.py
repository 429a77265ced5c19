"""`nexus-pipelines finetune-teardown`: what the finalizer of a FineTuneJob waits for."""

import argparse
import sys

from nexus_knowledge.objects import open_store
from nexus_pipelines.environment import Environment
from nexus_pipelines.finetune.arguments import add_job, job_key
from nexus_pipelines.finetune.store import FineTuneStore
from nexus_pipelines.finetune.teardown.core import remove_runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    add_job(parser)


def run(args: argparse.Namespace) -> None:
    """Do the step."""
    key = job_key(args)
    job = FineTuneStore(open_store(Environment().work_url), key.tenant, key.name, run="")
    removed = remove_runs(job, args.uid)
    sys.stderr.write(f"{key}: {len(removed)} runs removed\n")
