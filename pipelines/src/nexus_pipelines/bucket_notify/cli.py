"""`nexus-pipelines bucket-notify`: uploads and deletions are told to one target."""

import argparse
import sys

from nexus_knowledge.objects.buckets import notify
from nexus_pipelines.environment import Environment
from nexus_pipelines.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    parser.add_argument("--bucket", required=True, help="the bucket with the documents")
    parser.add_argument(
        "--target-arn", required=True, help="whom to notify, such as arn:minio:sqs::NEXUS:webhook"
    )


def run(args: argparse.Namespace) -> None:
    """Do the step; rules for other targets stay as they are."""
    if args.target_arn.split(":")[:1] != ["arn"] or ":sqs:" not in args.target_arn:
        raise UsageError("--target-arn must name a queue, such as arn:minio:sqs::NEXUS:webhook")
    changed = notify(Environment().s3_client(), args.bucket, args.target_arn)
    said = "notifies" if changed else "already notifies"
    sys.stderr.write(f"bucket {args.bucket} {said} {args.target_arn}\n")
