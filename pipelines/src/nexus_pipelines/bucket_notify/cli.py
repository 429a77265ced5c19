"""`nexus-pipelines bucket-notify`: uploads and deletions are told to one target."""

import argparse
import sys
from urllib.parse import urlsplit

from nexus_knowledge.objects.buckets import notify
from nexus_pipelines.environment import Environment
from nexus_pipelines.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    parser.add_argument("--bucket", help="the bucket; that of NEXUS_BUCKET_URL when left out")
    parser.add_argument(
        "--target-arn", required=True, help="whom to notify, such as arn:minio:sqs::NEXUS:webhook"
    )


def run(args: argparse.Namespace) -> None:
    """Do the step; rules for other targets stay as they are."""
    if args.target_arn.split(":")[:1] != ["arn"] or ":sqs:" not in args.target_arn:
        raise UsageError("--target-arn must name a queue, such as arn:minio:sqs::NEXUS:webhook")
    environment = Environment()
    bucket = args.bucket or _platforms(environment.bucket_url)
    changed = notify(environment.s3_client(), bucket, args.target_arn)
    said = "notifies" if changed else "already notifies"
    sys.stderr.write(f"bucket {bucket} {said} {args.target_arn}\n")


def _platforms(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc:
        raise UsageError(f"NEXUS_BUCKET_URL is {url!r}, which is no bucket that could notify")
    return parts.netloc
