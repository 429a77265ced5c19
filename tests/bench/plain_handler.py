"""The operator that a kopf tutorial ends with: one `on.create` handler that makes the child."""

from typing import Any

import kopf

from nexus_api.ragindex import RagIndex
from nexus_operator.build.workflow import run_name, sync_workflow
from nexus_operator.cluster.connection import connect
from nexus_operator.cluster.kubernetes import KubernetesCluster
from nexus_operator.process.kopf_parts import kopf_connection
from nexus_operator.settings import Settings

SETTINGS = Settings()


@kopf.on.login()
async def log_in(**_: Any) -> kopf.ConnectionInfo:
    return kopf_connection(connect())


@kopf.on.startup()
async def open_client(memo: kopf.Memo, **_: Any) -> None:
    memo.clients = [KubernetesCluster(connect())]


@kopf.on.create("llmops.nexus", "v1alpha1", "ragindexes")
async def create(body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:
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
    await memo.clients[0].create(workflow)
