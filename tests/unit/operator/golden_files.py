"""Golden files: what the builders made when somebody last looked at it."""

import os
from pathlib import Path

import yaml

from nexus_api.meta import Manifest

GOLDEN = Path(__file__).parent / "golden"


def assert_golden(name: str, made: Manifest) -> None:
    """Compare with a golden file; NEXUS_UPDATE_GOLDEN=1 writes it anew."""
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("NEXUS_UPDATE_GOLDEN"):
        path.write_text(yaml.safe_dump(made, sort_keys=False, width=100))
    assert made == yaml.safe_load(path.read_text())
