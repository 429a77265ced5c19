"""`nexus-pipelines publish`: flip, clean up, report."""

import argparse
from contextlib import ExitStack, closing
from functools import cache

from nexus_knowledge.ledger import Ledger
from nexus_knowledge.objects import open_store
from nexus_knowledge.vectors import VectorIndex, open_index
from nexus_pipelines.arguments import add_index, add_run, index_key, settings, write_output
from nexus_pipelines.environment import Environment
from nexus_pipelines.publish.core import Publication, report
from nexus_pipelines.publish.counted import Counted
from nexus_pipelines.runs import RunStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    add_index(parser, uid=True)
    add_run(parser)
    parser.add_argument(
        "--request", default="", help="who asked for the sync; then the vectors are counted too"
    )
    parser.add_argument("--report-out", required=True, help="file for the report, JSON")


def run(args: argparse.Namespace) -> None:
    """Do the step."""
    environment = Environment()
    key, spec = index_key(args), settings(args)
    store = open_store(environment.work_url)
    work, counted = RunStore(store, key, args.run), Counted(store, key)
    plan = work.plan()
    with ExitStack() as stack:
        ledger = stack.enter_context(closing(Ledger(environment.ledger_url)))

        @cache
        def vectors() -> VectorIndex:
            return stack.enter_context(closing(open_index(environment.milvus_uri)))

        def dimension() -> int:
            from nexus_knowledge.embedding import EmbedderClient

            with EmbedderClient(environment.embedder_url, model=spec.embedding.uri) as embedder:
                return int(embedder.embed(["dimension"]).shape[1])

        publication = Publication(key, args.uid, ledger, vectors, dimension)
        # Without a plan this is the repetition of a publish that had come to its end.
        changed = plan is not None and publication.publish(plan)
        view = ledger.view(*key)
        due = view is not None and counted.due(view.collection)
        publication.clean_up(changed=changed, asked=bool(args.request), thorough=due)
        if view is not None and due:
            counted.note(view.collection)
            work.clean_up_abandoned()
        text = report(ledger.counts(*key), ledger.view(*key))
    write_output(args.report_out, text)
    work.clean_up()
