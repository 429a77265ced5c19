"""The operator that kopf's tutorial ends with: `on.create`, and the official client inside."""

from typing import Any

import kopf
import kubernetes
from burst_workflow import SETTINGS, first_sync


@kopf.on.create("llmops.nexus", "v1alpha1", "ragindexes")
def create(body: kopf.Body, **_: Any) -> None:
    api = kubernetes.client.CustomObjectsApi()
    api.create_namespaced_custom_object(
        "argoproj.io", "v1alpha1", SETTINGS.platform_namespace, "workflows", first_sync(body)
    )
