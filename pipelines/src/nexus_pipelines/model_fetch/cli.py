"""`nexus-pipelines model-fetch`: what an engine's pod runs first."""

import argparse
import sys
from pathlib import Path

from nexus_models import place
from nexus_pipelines.fetching import add_model, fetch_model, fetch_released


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    add_model(parser)
    parser.add_argument(
        "--adapter-digest", default="", help="it is a LoRA adapter; refuse another than this"
    )
    parser.add_argument("--to", required=True, type=Path, help="folder that shall hold its files")


def run(args: argparse.Namespace) -> None:
    """Do the step; a folder that holds the very model is left alone."""
    model = fetch_released(args) if args.adapter_digest else fetch_model(args)
    placed = place(model, args.to)
    said = "placed" if placed else "already there"
    sys.stderr.write(f"{args.uri} (digest {model.digest[:12]}) {said}: {args.to}\n")
