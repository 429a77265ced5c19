"""`nexus-pipelines model-mirror`: run where the model's own place can be reached."""

import argparse
import sys

from nexus_models import mirror
from nexus_pipelines.fetching import add_model, fetch_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    add_model(parser)
    parser.add_argument("--to", required=True, help="s3://bucket/folder for the copy")


def run(args: argparse.Namespace) -> None:
    """Do the step; a mirror that holds the very model is left alone."""
    model = fetch_model(args)
    copied = mirror(model, args.to)
    said = "copied" if copied else "already there"
    sys.stderr.write(f"{args.uri} (digest {model.digest[:12]}) {said}: {args.to}\n")
