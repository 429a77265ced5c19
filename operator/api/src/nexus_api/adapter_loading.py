"""Which LoRA adapters a running server should have: what its pods are told, and what they answer.

The operator writes `AdaptersToLoad` into a ConfigMap that the pods mount; the container beside the
server answers `LoadedAdapters` at REPORT_PATH.  Other releases may stand at the other end.
"""

import hashlib
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from nexus_api.meta import Model

WANTED_FILE = "adapters.json"
"""Key of the ConfigMap, and name of the file in the pods."""

REPORT_PATH = "/adapters"
READY_PATH = "/ready"

_SHORT = 12


def version_name(name: str, source: str, digest: str = "") -> str:
    """Return the name under which a server has one version of an adapter: `polite@1f3870be274f`.

    Other weights have another name.  An adapter that was replaced under its name would change under
    answers that are being written, and the server's cache of prompts would mix both.
    """
    told = digest or hashlib.sha256(source.encode()).hexdigest()
    return f"{name}@{told[:_SHORT]}"


class AdapterToLoad(Model):
    """One version of one adapter."""

    name: Annotated[str, Field(min_length=1)]
    """Name that the server shall know it by."""
    uri: str
    """Address of its folder."""
    digest: str = ""
    """Digest of its files; empty where nobody named one."""
    folder: str
    """Where its files belong in the pod."""
    needed: bool = False
    """Whether requests may ask for it now: a pod without it is not ready."""


class AdaptersToLoad(Model):
    """Everything that a server should have; what is not here may go after a while."""

    adapters: list[AdapterToLoad] = Field(default_factory=list)
    """In the order in which they are loaded."""

    def text(self) -> str:
        """Return it as the file's text; the same adapters give the same text."""
        return self.model_dump_json(by_alias=True, exclude_defaults=True)


class LoadedAdapters(Model):
    """What one pod has."""

    told: list[str] = Field(default_factory=list)
    """Names in the file that the pod has read last."""
    loaded: list[str] = Field(default_factory=list)
    """Names that its server answers by; none while the server does not answer at all."""
    refused: Mapping[str, str] = Field(default_factory=dict)
    """Why an adapter of the file is not loaded, by its name, after at least one try."""
