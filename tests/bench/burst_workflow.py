"""What both plain handlers make for a new RagIndex: the Workflow that the operator makes."""

from collections.abc import Mapping
from typing import Any

from nexus_api.meta import Manifest
from nexus_api.ragindex import RagIndex
from nexus_operator.build.run import run_name
from nexus_operator.build.workflow import sync_workflow
from nexus_operator.settings import Settings

SETTINGS = Settings()


def first_sync(body: Mapping[str, Any]) -> Manifest:
    """Return the Workflow of an index's first sync."""
    index = RagIndex.model_validate(
        {"metadata": dict(body["metadata"]), "spec": dict(body["spec"])}
    )
    return sync_workflow(
        index,
        SETTINGS,
        name=run_name(index, "sync", after=""),
        request="",
        cause="first",
        attempt=1,
        spec_json="{}",
    )
