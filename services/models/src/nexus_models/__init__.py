"""Model files by URI: fetched once, checked by digest, opened safely."""

from nexus_models.adapters import fetch_adapter
from nexus_models.cache import Cache
from nexus_models.errors import (
    AmbiguousModel,
    CacheBusy,
    DigestMismatch,
    FetchFailed,
    ModelError,
    ModelNotFound,
    NotAllowed,
    UnsafeModel,
    UnsupportedUri,
)
from nexus_models.fetch import Progress, fetch
from nexus_models.files import ModelFiles, ModelFormat
from nexus_models.licence import Licence, named_licence
from nexus_models.mirroring import mirror
from nexus_models.placing import place

__all__ = [
    "AmbiguousModel",
    "Cache",
    "CacheBusy",
    "DigestMismatch",
    "FetchFailed",
    "Licence",
    "ModelError",
    "ModelFiles",
    "ModelFormat",
    "ModelNotFound",
    "NotAllowed",
    "Progress",
    "UnsafeModel",
    "UnsupportedUri",
    "fetch",
    "fetch_adapter",
    "mirror",
    "named_licence",
    "place",
]
