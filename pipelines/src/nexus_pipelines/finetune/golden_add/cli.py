"""`nexus-pipelines golden-add`: promote corrected answers into a new version of a golden set.

A version is never changed in place: results and gates name it by its digest.
"""

import argparse
import io
import sys

from nexus_evaluation.errors import BadGoldenSet
from nexus_evaluation.golden import GoldenSet, read, write
from nexus_knowledge.errors import ObjectNotFound
from nexus_knowledge.ledger import Ledger
from nexus_knowledge.objects import ObjectStore, open_store
from nexus_pipelines.environment import Environment
from nexus_pipelines.errors import StepError, UsageError
from nexus_pipelines.finetune.golden_add.core import NotPromotable, extended, missing
from nexus_pipelines.finetune.golden_add.versions import SetVersion, newest


class VersionTaken(StepError):
    """The object that the new version is to be written to holds something else."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--namespace", required=True, help="namespace of the answers and the set")
    parser.add_argument(
        "--response", required=True, action="append", help="id of an answer; again for more"
    )
    parser.add_argument(
        "--base", default="", help="key of the version to extend; left out: a new set"
    )
    parser.add_argument("--to", default="", help="key of the new version, <namespace>/...jsonl")
    parser.add_argument("--name", default="", help="name of a new set")
    parser.add_argument("--set-version", default="", help="version that the new file states")
    parser.add_argument(
        "--set",
        default="",
        help="a set in <namespace>/golden/, instead of --base, --to, --name and --set-version: its "
        "newest version is extended by one, its first is made",
    )
    parser.add_argument("--topic", default="", help="topic of the new items")
    parser.add_argument(
        "--fact",
        action="append",
        default=[],
        help="what every right answer holds, with one --response; again for more",
    )


def run(args: argparse.Namespace) -> None:
    """Do it; done twice it is done once."""
    if args.fact and len(args.response) > 1:
        raise UsageError("--fact is of one answer: add the others apart")
    environment = Environment()
    bucket = open_store(environment.bucket_url)
    _choose(bucket, args)
    for name in ("base", "to"):
        _check_key(args.namespace, name, getattr(args, name))
    golden = _read(bucket, args.base) if args.base else GoldenSet((), args.name)
    with Ledger(environment.ledger_url) as ledger:
        found = [ledger.rated_response(args.namespace, one) for one in args.response]
    rated = [one for one in found if one is not None]
    if gone := missing(args.response, rated):
        raise NotPromotable(f"namespace {args.namespace} has no logged answer {gone[0]!r}")
    made = extended(golden, rated, version=args.set_version, topic=args.topic, facts=args.fact)
    _put_new(bucket, args.to, write(made))
    sys.stdout.write(f"{args.to}: {len(made.items)} items, {made.digest}\n")


def _choose(bucket: ObjectStore, args: argparse.Namespace) -> None:
    """Say which keys and which version `--set` means; without it they have to be given."""
    places = (args.base, args.to, args.name, args.set_version)
    if not args.set:
        if not (args.to and args.set_version):
            raise UsageError("name a set (--set), or give --to and --set-version")
        return
    if any(places):
        raise UsageError("--set stands instead of --base, --to, --name and --set-version")
    last = newest(bucket, args.namespace, args.set)
    made = last.following if last else SetVersion(args.namespace, args.set, 1)
    args.base, args.to = last.key if last else "", made.key
    args.name, args.set_version = args.set, str(made.number)


def _check_key(namespace: str, name: str, key: str) -> None:
    if key and not (key.startswith(f"{namespace}/") and key.endswith(".jsonl")):
        raise UsageError(f"--{name} {key!r} must be {namespace}/....jsonl")


def _read(bucket: ObjectStore, key: str) -> GoldenSet:
    try:
        with bucket.open(key) as stream:
            return read(stream.read(), key)
    except ObjectNotFound as error:
        raise NotPromotable(f"there is no golden set {key} to extend") from error
    except BadGoldenSet as error:
        raise NotPromotable(str(error)) from error


def _put_new(bucket: ObjectStore, key: str, content: bytes) -> None:
    try:
        with bucket.open(key) as stream:
            there = stream.read(len(content) + 1)
    except ObjectNotFound:
        bucket.put(key, io.BytesIO(content), size=len(content))
        return
    if there != content:
        raise VersionTaken(f"{key} is there and holds another version; write to a new key")
