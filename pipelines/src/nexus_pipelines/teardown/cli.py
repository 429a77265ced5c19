"""`nexus-pipelines teardown`: what the finalizer of a RagIndex waits for."""

import argparse
import sys
from contextlib import ExitStack, closing

from nexus_knowledge.ledger import Ledger
from nexus_knowledge.objects import open_store
from nexus_knowledge.vectors import VectorIndex, open_index
from nexus_pipelines.arguments import add_index, index_key
from nexus_pipelines.environment import Environment
from nexus_pipelines.publish.counted import Counted
from nexus_pipelines.runs import clean_up_runs
from nexus_pipelines.teardown.core import tear_down


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    add_index(parser, uid=True)
    parser.add_argument(
        "--policy", required=True, choices=("Delete", "Retain"), help="retention.deletionPolicy"
    )


def run(args: argparse.Namespace) -> None:
    """Do the step."""
    key, environment = index_key(args), Environment()
    work = open_store(environment.work_url)
    clean_up_runs(work, key)
    if args.policy == "Retain":
        sys.stderr.write(f"{key}: collection and ledger rows are retained\n")
        return
    Counted(work, key).forget()
    with ExitStack() as stack:
        ledger = stack.enter_context(closing(Ledger(environment.ledger_url)))

        def vectors() -> VectorIndex:
            return stack.enter_context(closing(open_index(environment.milvus_uri)))

        removed = tear_down(key, args.uid, ledger, vectors)
    sys.stderr.write(f"{key}: {'removed' if removed else 'nothing to remove'}\n")
