"""Runs and model versions in MLflow: tracked, registered, promoted, rolled back."""

from nexus_registry.connection import Connection
from nexus_registry.errors import (
    BadTrackingUrl,
    MoveConflict,
    MoveNotAllowed,
    NotFound,
    NothingToRollBackTo,
    Refused,
    RegistryError,
    Unavailable,
)
from nexus_registry.moves import Champions, Outcome
from nexus_registry.reading import Reader, TrackedRun
from nexus_registry.releases import (
    CHALLENGED_TAG,
    GATE,
    VERDICT_TAG,
    Asked,
    Move,
    Releases,
)
from nexus_registry.tracking import DataSet, Measured, Run, Tracker
from nexus_registry.versions import Version, Versions

__all__ = [
    "CHALLENGED_TAG",
    "GATE",
    "VERDICT_TAG",
    "Asked",
    "BadTrackingUrl",
    "Champions",
    "Connection",
    "DataSet",
    "Measured",
    "Move",
    "MoveConflict",
    "MoveNotAllowed",
    "NotFound",
    "NothingToRollBackTo",
    "Outcome",
    "Reader",
    "Refused",
    "RegistryError",
    "Releases",
    "Run",
    "TrackedRun",
    "Tracker",
    "Unavailable",
    "Version",
    "Versions",
]
