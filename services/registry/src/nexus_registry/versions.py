"""Registered models and their versions.

A version is a folder of plain files elsewhere (safetensors, GGUF, JSON), which the registry points
to; nothing is ever loaded through the registry.  The same content is registered once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nexus_registry.connection import Connection, error_code
from nexus_registry.errors import NotFound, Refused

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_MODEL = re.compile(r"[a-z0-9][a-z0-9.-]{0,250}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
DIGEST_TAG = "nexus.digest"
CHALLENGER, CHAMPION, PREVIOUS = "challenger", "champion", "previous"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a registered model."""

    model: str
    number: str
    source: str  # address of its folder
    run_id: str
    tags: Mapping[str, str]


class Versions:
    """Versions of registered models."""

    def __init__(self, connection: Connection) -> None:
        """Take the connection; nothing is asked yet."""
        self._connection = connection

    def register(
        self,
        model: str,
        *,
        digest: str,
        source: str,
        run_id: str,
        tags: Mapping[str, str],
        description: str = "",
    ) -> Version:
        """Register a version, or find the one with this content.

        Of two that were made in the same moment the older one stays.

        Args:
            model: `<namespace>.<job>`; made with its first version.
            digest: of the content (sha256, hex).
            source: address of the folder.
            run_id: the run that it came from.
            tags: written with the version, in one step.
            description: for people.

        Raises:
            Refused, Unavailable: MLflow said no, or could not be reached.
        """
        if not (_MODEL.fullmatch(model) and _DIGEST.fullmatch(digest)):
            raise Refused(f"{model!r} with digest {digest!r} cannot be registered")

        def ensure(client: "MlflowClient") -> Version:
            _make_model(client, model)
            found = _of_content(client, model, digest)
            if not found:
                client.create_model_version(
                    model, source, run_id=run_id, tags={**tags, DIGEST_TAG: digest},
                    description=description, await_creation_for=0,
                )  # fmt: skip
                found = _of_content(client, model, digest)
            for other in found[1:]:
                client.delete_model_version(model, other.number)
            return found[0]

        return self._connection.call(f"register a version of {model}", ensure)

    def version(self, model: str, number: str) -> Version:
        """Return a version.

        Raises:
            NotFound: there is no such model or version.
        """
        return self._connection.call(
            f"find version {number} of {model}",
            lambda client: _version(client.get_model_version(model, number)),
        )

    def numbers(self, model: str) -> frozenset[str]:
        """Return the numbers of all versions of a model."""
        if not _MODEL.fullmatch(model):
            raise NotFound(f"there is no registered model {model!r}")
        return self._connection.call(
            f"list the versions of {model}",
            lambda client: frozenset(
                str(one.version) for one in client.search_model_versions(f"name='{model}'")
            ),
        )

    def challenge(self, model: str, number: str) -> None:
        """Make a version the challenger."""
        self._connection.call(
            f"make version {number} of {model} the challenger",
            lambda client: client.set_registered_model_alias(model, CHALLENGER, number),
        )


def _make_model(client: "MlflowClient", model: str) -> None:
    try:
        client.create_registered_model(model)
    except Exception as error:
        if error_code(error) != "RESOURCE_ALREADY_EXISTS":
            raise


def _of_content(client: "MlflowClient", model: str, digest: str) -> list[Version]:
    found = client.search_model_versions(f"name='{model}' and tags.`{DIGEST_TAG}` = '{digest}'")
    return sorted((_version(one) for one in found), key=lambda version: int(version.number))


def _version(found: Any) -> Version:
    return Version(
        model=found.name,
        number=str(found.version),
        source=found.source,
        run_id=found.run_id or "",
        tags=MappingProxyType(dict(found.tags)),
    )
