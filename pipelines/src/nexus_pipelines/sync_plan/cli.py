"""`nexus-pipelines sync-plan`: list the bucket, diff with the ledger, write shards."""

import argparse
import json
import sys

from nexus_api.ragindex import RagIndexSpec
from nexus_api.source import PrefixOutsideNamespace
from nexus_knowledge.ledger import Ledger, SyncPlan
from nexus_knowledge.objects import ObjectStore, open_store
from nexus_pipelines.arguments import (
    IndexKey,
    add_index,
    add_run,
    index_key,
    settings,
    write_output,
)
from nexus_pipelines.environment import Environment
from nexus_pipelines.errors import StepError
from nexus_pipelines.runs import RunPlan, RunStore
from nexus_pipelines.source import open_source
from nexus_pipelines.sync_plan.core import documents, limits_digest, shards


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    add_index(parser, uid=True)
    add_run(parser)
    parser.add_argument("--shards-out", required=True, help="file for the list of shards, JSON")
    parser.add_argument("--count-out", required=True, help="file for the number of shards")


def run(args: argparse.Namespace) -> None:
    """Do the step."""
    environment = Environment()
    key, spec = index_key(args), settings(args)
    bucket = open_source(key, spec, environment)
    work = RunStore(open_store(environment.work_url), key, args.run)
    ledger = Ledger(environment.ledger_url)
    try:
        plan = compare(key, args.uid, spec, args.fingerprint, bucket, ledger)
    finally:
        ledger.close()
    # An object whose deletion by the API was cut short would come back as a new document.
    for doomed in plan.delete_keys:
        bucket.delete(doomed)
    references = work.put_shards(
        plan.collection, shards(plan.work, parallelism=spec.sync.parallelism)
    )
    changes = len(plan.work) + plan.removed + len(plan.delete_keys)
    work.put_plan(RunPlan(collection=plan.collection, changes=changes))
    write_output(args.shards_out, json.dumps(references, separators=(",", ":")))
    write_output(args.count_out, str(len(references)))
    sys.stderr.write(
        f"{len(plan.work)} to ingest in {len(references)} shards, {plan.unchanged} unchanged, "
        f"{plan.removed} removed, {plan.known_failures} failed before\n"
    )


def compare(
    key: IndexKey,
    uid: str,
    spec: RagIndexSpec,
    fingerprint: str,
    bucket: ObjectStore,
    ledger: Ledger,
) -> SyncPlan:
    """List the index's documents and have the ledger say what is to do about them."""
    try:
        prefix = spec.source.key_prefix(key.tenant, key.name)
    except PrefixOutsideNamespace as error:
        raise StepError(f"{key}: {error}") from error
    # The token is taken first: what is uploaded or deleted during the listing is told apart.
    token = ledger.begin_listing(key.tenant, key.name, uid)
    # Listed before the ledger's transaction begins: hashing new files may take a while.
    listing = list(documents(bucket.list(prefix), prefix, spec))
    return ledger.plan_sync(
        key.tenant,
        key.name,
        uid,
        fingerprint=fingerprint,
        limits=limits_digest(spec),
        listing=listing,
        token=token,
    )
