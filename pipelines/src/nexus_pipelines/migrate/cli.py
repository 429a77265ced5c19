"""`nexus-pipelines migrate`: run before anything that reads the ledger; repeating it is fine."""

import argparse
import sys

from nexus_knowledge.ledger import upgrade
from nexus_pipelines.environment import Environment


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """Say what the step takes: nothing but its environment."""


def run(_args: argparse.Namespace) -> None:
    """Do the step."""
    upgrade(Environment().ledger_url)
    sys.stderr.write("the ledger is up to date\n")
