"""`nexus-pipelines triton-repository`: what a Triton pod runs when it has its weights."""

import argparse
import sys
from pathlib import Path

from nexus_api.triton_repository import ADAPTERS, CONFIG, ENGINE
from nexus_pipelines.triton_repository.writing import write_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    parser.add_argument("--weights", required=True, type=Path, help="folder of the model's files")
    parser.add_argument("--config", required=True, type=Path, help=f"folder with {CONFIG}")
    parser.add_argument("--to", required=True, type=Path, help="folder of the model to write")


def run(args: argparse.Namespace) -> None:
    """Do the step; what an earlier try left is written over."""
    stated: Path = args.config
    names = [CONFIG, ENGINE, *([ADAPTERS] if (stated / ADAPTERS).is_file() else [])]
    files = {name: (stated / name).read_text(encoding="utf-8") for name in names}
    found = write_model(files, args.weights, args.to)
    sys.stderr.write(f"wrote {args.to} with {', '.join(found) or 'no chat template'}\n")
