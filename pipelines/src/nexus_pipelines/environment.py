"""Where the platform's parts are, as the environment of a step says (ConfigMap nexus-platform)."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nexus_api.s3 import S3Access, S3NotConfigured
from nexus_pipelines.errors import UsageError

if TYPE_CHECKING:
    from minio import Minio


class Environment:
    """Reads a variable when a step needs it, so that no step asks for what it does not use."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = os.environ if variables is None else variables

    @property
    def bucket_url(self) -> str:
        """The bucket that holds the documents."""
        return self._named("NEXUS_BUCKET_URL")

    @property
    def work_url(self) -> str:
        """The store for shards."""
        return self._named("NEXUS_WORK_URL")

    @property
    def models_url(self) -> str:
        """The store for the artifacts of registered models."""
        return self._named("NEXUS_MODELS_URL")

    @property
    def tracking_url(self) -> str:
        """The tracking server and model registry: sqlite:///... or http(s)://..."""
        return self._named("NEXUS_TRACKING_URL")

    @property
    def ledger_url(self) -> str:
        """The ledger's database."""
        return self._named("NEXUS_LEDGER_URL")

    @property
    def milvus_uri(self) -> str:
        """The vector index."""
        return self._named("NEXUS_MILVUS_URI")

    @property
    def embedder_url(self) -> str:
        """The embedding server."""
        return self._named("NEXUS_EMBEDDER_URL")

    @property
    def model_cache(self) -> Path:
        """The directory of fetched models, whose tokenizer is needed."""
        return Path(self._named("NEXUS_MODEL_CACHE"))

    @property
    def shared_buckets(self) -> list[str]:
        """Names of buckets, divided by commas, that the administrator opened to every tenant."""
        named = self._variables.get("NEXUS_SHARED_BUCKETS", "").split(",")
        return [name.strip() for name in named if name.strip()]

    def find_work_url(self) -> str:
        """Return the store for shards; empty where a command can do without."""
        return self._variables.get("NEXUS_WORK_URL", "")

    def find_model_cache(self) -> Path | None:
        """Return the directory of fetched models; None where a step can do without."""
        named = self._variables.get("NEXUS_MODEL_CACHE", "")
        return Path(named) if named else None

    def s3_client(self) -> "Minio":
        """Make a client for the S3 that NEXUS_S3_* name.

        Raises:
            UsageError: they do not name one.
        """
        try:
            return S3Access.from_environment(self._variables).client()
        except S3NotConfigured as error:
            raise UsageError(f"{error}; steps get it from nexus-platform") from error

    def _named(self, name: str) -> str:
        value = self._variables.get(name, "")
        if not value:
            raise UsageError(
                f"the environment variable {name} is not set; steps get it from the ConfigMap "
                "nexus-platform"
            )
        return value
