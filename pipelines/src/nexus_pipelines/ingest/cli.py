"""`nexus-pipelines ingest`: one shard."""

import argparse
import sys
from contextlib import ExitStack, closing

from nexus_knowledge.embedding import EmbedderClient
from nexus_knowledge.ledger import Ledger
from nexus_knowledge.objects import open_store
from nexus_knowledge.vectors import open_index
from nexus_models import fetch
from nexus_pipelines.arguments import add_index, add_run, index_key, json_argument, settings
from nexus_pipelines.chunk.tokens import TextTokenizer
from nexus_pipelines.environment import Environment
from nexus_pipelines.errors import UsageError
from nexus_pipelines.ingest.capacity import readers
from nexus_pipelines.ingest.core import Ingest, Summary
from nexus_pipelines.ingest.reading import Reader, chunk_limits, parse_limits
from nexus_pipelines.ingest.served import check_served
from nexus_pipelines.parse.pool import ParserPool
from nexus_pipelines.runs import RunStore
from nexus_pipelines.source import open_source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    add_index(parser, uid=False)
    add_run(parser)
    parser.add_argument("--shard", required=True, help="one entry of sync-plan's list, JSON")


def run(args: argparse.Namespace) -> None:
    """Do the step."""
    environment = Environment()
    key, spec = index_key(args), settings(args)
    reference = json_argument("shard", args.shard)
    if not isinstance(reference, dict) or not isinstance(reference.get("key"), str):
        raise UsageError('--shard must be {"key": ..., "count": ...} as sync-plan wrote it')
    shard = RunStore(open_store(environment.work_url), key, args.run).shard(reference["key"])
    check_served(key, spec, environment.embedder_url)
    model = fetch(spec.embedding.uri, cache=environment.model_cache)
    limits = parse_limits(spec)
    threads = readers(len(shard.items), limits.max_memory)
    with ExitStack() as stack:
        ledger = stack.enter_context(closing(Ledger(environment.ledger_url)))
        vectors = stack.enter_context(closing(open_index(environment.milvus_uri)))
        embedder = stack.enter_context(
            EmbedderClient(environment.embedder_url, model=spec.embedding.uri)
        )
        pool = stack.enter_context(ParserPool(limits, size=threads))
        reader = Reader(
            key=key,
            bucket=open_source(key, spec, environment),
            parser=pool.parse,
            tokenizer=TextTokenizer.load(model.dir),
            parse_limits=limits,
            chunk_limits=chunk_limits(spec),
        )
        summary = Ingest(
            key=key,
            collection=shard.collection,
            ledger=ledger,
            vectors=vectors,
            embed=lambda texts: embedder.embed(texts, prefix=spec.embedding.passage_prefix),
            read=reader.read,
            dimension=spec.embedding.dimension,
            threads=threads,
            progress=_report,
        ).run(shard.items)
    sys.stderr.write(
        f"ingested {summary.ingested} documents as {summary.chunks} chunks, {summary.failed} "
        f"failed, {summary.left + summary.superseded} changed meanwhile\n"
    )


def _report(summary: Summary) -> None:
    sys.stderr.write(f"ingested {summary.done}/{summary.total}\n")
    sys.stderr.flush()
