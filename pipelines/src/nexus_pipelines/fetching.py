"""A model by the address and revision that a step was given."""

import argparse
import sys

from nexus_models import ModelFiles, ModelFormat, fetch, fetch_adapter
from nexus_pipelines.environment import Environment


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add --uri and --revision."""
    parser.add_argument("--uri", required=True, help="address of the model")
    parser.add_argument("--revision", default="", help="revision of a hf:// model")


def fetch_model(args: argparse.Namespace) -> ModelFiles:
    """Bring the model into the cache; say so when that takes a download."""
    cache = Environment().model_cache
    return fetch(args.uri, cache=cache, revision=args.revision, progress=_say)


def fetch_released(args: argparse.Namespace) -> ModelFiles:
    """Bring the adapter of --adapter-digest into the cache, in the form that PEFT writes."""
    return fetch_adapter(
        args.uri,
        ModelFormat.SAFETENSORS,
        cache=Environment().model_cache,
        digest=args.adapter_digest,
        progress=_say,
    )


def _say(begins: str) -> None:
    sys.stderr.write(f"{begins}\n")
