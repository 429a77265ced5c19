"""Where a laptop's platform keeps its files, and how a process finds a platform that runs."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

DEFAULT_PORT = 8642


def default_data_dir() -> Path:
    """`NEXUS_DATA_DIR`, else the XDG data folder's `llmops-nexus`."""
    given = os.environ.get("NEXUS_DATA_DIR")
    if given:
        return Path(given).expanduser()
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "llmops-nexus"


def default_model_cache() -> Path:
    """`NEXUS_MODEL_CACHE`, else a folder that all data directories of a user share."""
    given = os.environ.get("NEXUS_MODEL_CACHE")
    if given:
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "llmops-nexus" / "models"


@dataclass(frozen=True, slots=True)
class Layout:
    """The files below one data directory."""

    root: Path

    @property
    def objects(self) -> Path:
        """The object store: every resource and its status."""
        return self.root / "objects.db"

    @property
    def bucket(self) -> Path:
        """The documents, one folder a tenant, below it one an index."""
        return self.root / "buckets" / "documents"

    @property
    def work(self) -> Path:
        """Scratch objects of running workflows."""
        return self.root / "work"

    @property
    def models(self) -> Path:
        """Versions of fine-tuned models, which never change."""
        return self.root / "models"

    @property
    def tracking(self) -> Path:
        """The registry of runs and models; MLflow keeps their files in a folder beside it."""
        return self.root / "tracking.db"

    @property
    def ledger(self) -> Path:
        """What is known of each document, and which version is live."""
        return self.root / "ledger.db"

    @property
    def node(self) -> Path:
        """Pods: their folders, volumes and logs."""
        return self.root / "node"

    @property
    def control(self) -> Path:
        """Address and token of the Kubernetes-shaped API while the platform runs."""
        return self.root / "control.json"

    @property
    def endpoint(self) -> Path:
        """Address of the gateway while the platform runs."""
        return self.root / "endpoint.json"

    def create(self) -> None:
        """Make the folders; they are the user's alone."""
        for folder in (self.root, self.bucket, self.work, self.models, self.node):
            folder.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)


def write_private(path: Path, payload: dict[str, object]) -> None:
    """Replace a small JSON file at once, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        json.dump(payload, out)
    fresh.replace(path)


def read_json(path: Path) -> dict[str, str]:
    """A small JSON object, empty when the file is missing or unreadable."""
    try:
        payload = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return payload if isinstance(payload, dict) else {}


def registry(url: str) -> Path:
    """Where the platform that serves a loopback address says which data directory is its own."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "llmops-nexus" / "platforms" / f"{urlsplit(url).port or 80}.json"
