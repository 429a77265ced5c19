"""Programs that are not ours: where they lie, and what they need not know."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from nexus_pipelines.finetune.evaluate.errors import EngineNotOffered

_CREDENTIALS = ("NEXUS_", "AWS_", "MLFLOW_", "HF_TOKEN")
_LIBRARIES = ("PYTHONPATH", "PYTHONHOME")
"""Beginnings of variables: credentials of stores and hubs, our own libraries."""


def program(name: str, named: str, engine: str) -> Path:
    """Return an engine's program: the one that the variable `named` names, else on the PATH.

    Raises:
        EngineNotOffered: it is not installed here.
    """
    found = os.environ.get(named) or shutil.which(name)
    if not found or not os.access(found, os.X_OK):
        raise EngineNotOffered(
            f"there is no {found or name}: the model is served by {engine}, so the image that "
            f"evaluates (images.evaluator of the chart) needs it on its PATH, or {named} names it"
        )
    return Path(found)


def without_credentials() -> dict[str, str]:
    """Return this process's environment for a program that asks no store."""
    return {key: value for key, value in os.environ.items() if not key.startswith(_CREDENTIALS)}


def environment() -> dict[str, str]:
    """Return this process's environment less what a program that is not ours has no use for."""
    found = without_credentials()
    return {key: value for key, value in found.items() if not key.startswith(_LIBRARIES)}


def beside(path: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which programs of a folder are found first."""
    return {**environ, "PATH": f"{path}:{environ.get('PATH', '')}"}
