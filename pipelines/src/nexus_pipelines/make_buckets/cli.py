"""`nexus-pipelines make-buckets`: those that the environment names, and more by argument."""

import argparse
import sys
from urllib.parse import urlsplit

from nexus_knowledge.objects.buckets import make_bucket
from nexus_pipelines.environment import Environment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    parser.add_argument(
        "--bucket", action="append", default=[], help="one more bucket; may be given again"
    )


def run(args: argparse.Namespace) -> None:
    """Do the step; a bucket that is there stays as it is."""
    environment = Environment()
    wanted = (environment.bucket_url, environment.work_url, environment.models_url)
    urls = [urlsplit(url) for url in wanted]
    names = [*(url.netloc for url in urls if url.scheme == "s3"), *args.bucket]
    if not names:
        sys.stderr.write("no bucket to make: documents, shards and models lie in directories\n")
        return
    client = environment.s3_client()
    for name in dict.fromkeys(names):
        made = make_bucket(client, name)
        sys.stderr.write(f"bucket {name}: {'made' if made else 'was there'}\n")
