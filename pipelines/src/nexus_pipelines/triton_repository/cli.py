"""`nexus-pipelines triton-repository`: what a Triton pod runs when it has its weights.

The operator writes the configuration and cannot see the weights; how their model is spoken to
stands in their files.  The step puts both together, and the gateway asks Triton for the result.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from nexus_pipelines.triton_repository.chat_template import chat_parameters

CONFIG = "config.pbtxt"
ENGINE = "1/model.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    parser.add_argument("--weights", required=True, type=Path, help="folder of the model's files")
    parser.add_argument("--config", required=True, type=Path, help=f"folder with {CONFIG}")
    parser.add_argument("--to", required=True, type=Path, help="folder of the model to write")


def run(args: argparse.Namespace) -> None:
    """Do the step; what an earlier try left is written over."""
    parameters = chat_parameters(args.weights)
    written = [
        f'parameters {{ key: "{key}" value {{ string_value: {quoted(text)} }} }}\n'
        for key, text in parameters.items()
    ]
    engine: Path = args.to / ENGINE
    engine.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(args.config / ENGINE, engine)
    config = (args.config / CONFIG).read_text(encoding="utf-8") + "".join(written)
    (args.to / CONFIG).write_text(config, encoding="utf-8")
    said = ", ".join(parameters) or "no chat template"
    sys.stderr.write(f"wrote {args.to} with {said}\n")


def quoted(text: str) -> str:
    r"""Return a string literal of protobuf's text form.

    Of JSON's escapes only \u is not known there by every reader: such characters stand as they are.
    """
    return json.dumps(text, ensure_ascii=False)
