"""The operator that kopf's tutorial ends with: `on.create`, and the official client inside."""

from typing import Any

import kopf
import kubernetes

from nexus_api.ragindex import RagIndex
from nexus_operator.build.workflow import run_name, sync_workflow
from nexus_operator.settings import Settings

SETTINGS = Settings()


@kopf.on.create("llmops.nexus", "v1alpha1", "ragindexes")
def create(body: kopf.Body, **_: Any) -> None:
    index = RagIndex.model_validate(
        {"metadata": dict(body["metadata"]), "spec": dict(body["spec"])}
    )
    workflow = sync_workflow(
        index,
        SETTINGS,
        name=run_name(index, "sync", after=""),
        request="",
        cause="first",
        attempt=1,
        spec_json="{}",
    )
    api = kubernetes.client.CustomObjectsApi()
    api.create_namespaced_custom_object(
        "argoproj.io", "v1alpha1", SETTINGS.platform_namespace, "workflows", workflow
    )
