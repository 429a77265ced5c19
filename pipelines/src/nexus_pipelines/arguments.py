"""The arguments that steps share: which index, which run, with which settings."""

import argparse
import json
import os
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from nexus_api.meta import Model
from nexus_api.ragindex import RagIndexSpec
from nexus_pipelines.errors import UsageError

Read = TypeVar("Read", bound=Model)


class IndexKey(NamedTuple):
    """One RagIndex: its namespace is the tenant."""

    tenant: str
    name: str

    def __str__(self) -> str:
        """Write it as people name it."""
        return f"RagIndex {self.tenant}/{self.name}"


def add_index(parser: argparse.ArgumentParser, *, uid: bool) -> None:
    """Add --namespace and --index, and --uid where the step must know the very resource."""
    parser.add_argument("--namespace", required=True, help="namespace of the RagIndex")
    parser.add_argument("--index", required=True, help="name of the RagIndex")
    if uid:
        parser.add_argument("--uid", required=True, help="uid of the RagIndex")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add what every step of a sync gets."""
    parser.add_argument("--run", required=True, help="name of the sync's Workflow")
    parser.add_argument("--settings", required=True, help="spec of the RagIndex as JSON")
    parser.add_argument("--fingerprint", required=True, help="fingerprint of that spec")


def index_key(args: argparse.Namespace) -> IndexKey:
    """Read which index the step is for."""
    return IndexKey(args.namespace, args.index)


def settings(args: argparse.Namespace) -> RagIndexSpec:
    """Read the spec.

    Raises:
        UsageError: it is no spec; names the first field at fault.
    """
    return model_argument("settings", args.settings, RagIndexSpec)


def model_argument(name: str, text: str, kind: type[Read]) -> Read:
    """Read an argument that holds a model of the API as JSON.

    Raises:
        UsageError: it does not; names the first field at fault.
    """
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the text"
        raise UsageError(f"--{name}: {place}: {first['msg']}") from error


def json_argument(name: str, text: str) -> Any:
    """Read a JSON argument.

    Raises:
        UsageError: it is none.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"--{name} is not JSON: {error}") from error


def write_output(path: str, text: str) -> None:
    """Write an output parameter whole or not at all."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(target)
