"""The operator that a kopf tutorial ends with: one `on.create` handler that makes the child."""

from typing import Any

import kopf
from burst_workflow import first_sync

from nexus_operator.cluster.connection import connect
from nexus_operator.cluster.kubernetes import KubernetesCluster
from nexus_operator.process.kopf_parts import kopf_connection


@kopf.on.login()
async def log_in(**_: Any) -> kopf.ConnectionInfo:
    return kopf_connection(connect())


@kopf.on.startup()
async def open_client(memo: kopf.Memo, **_: Any) -> None:
    memo.clients = [KubernetesCluster(connect())]


@kopf.on.create("llmops.nexus", "v1alpha1", "ragindexes")
async def create(body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:
    await memo.clients[0].create(first_sync(body))
