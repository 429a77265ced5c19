"""`nexus-api`: write or check what is generated from the models."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nexus_api.generate import stale, stale_reference, write, write_reference


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 when done, 1 when `--check` finds stale files."""
    parser = argparse.ArgumentParser(prog="nexus-api", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    generate = commands.add_parser("generate", help="write the CustomResourceDefinitions")
    generate.add_argument("--check", action="store_true", help="change nothing, fail on drift")
    generate.add_argument("--docs", type=Path, metavar="FILE", help="also the reference page")
    generate.add_argument("folder", type=Path, metavar="DIR")
    arguments = parser.parse_args(argv)

    if arguments.check:
        drifted = stale(arguments.folder)
        drifted += stale_reference(arguments.docs) if arguments.docs else []
        for path in drifted:
            sys.stderr.write(f"{path} does not match the models: run `make generate`\n")
        return 1 if drifted else 0
    changed = write(arguments.folder)
    changed += write_reference(arguments.docs) if arguments.docs else []
    for path in changed:
        sys.stdout.write(f"{path}\n")
    return 0
