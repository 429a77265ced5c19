"""The gateway's role grants what it uses and nothing else, by the audit log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fault_lab.rbac import Right, granted, used
from gateway_account import ACCOUNT, GROUP, put_index, put_model, rendered
from gateway_world import gateway_world
from waiting import eventually

from nexus_api.meta import SYNC_REQUESTED

pytestmark = pytest.mark.apiserver

USER = f"system:serviceaccount:default:{ACCOUNT}"
ELSEWHERE = "nexus-system"
"""Where nothing of this test is, so that all rights count as those in users' namespaces."""

FOLLOWED = {
    Right("users", "watch", "llmops.nexus", plural) for plural in ("servingmodels", "ragindexes")
}


async def test_nothing_is_granted_unused_and_nothing_used_ungranted(
    tmp_path: Path, pod: Any
) -> None:
    put_model(pod.api, "assistant", "http://127.0.0.1:1")
    put_index(pod.api, "handbook")
    async with gateway_world(
        tmp_path,
        control_url=pod.api.url,
        control_token_file=pod.token_file,
        control_ca_file=pod.ca_file,
    ) as world:
        routes = world.services.routes
        await world.until(lambda: routes.model("default", "assistant") is not None)
        await world.until(lambda: routes.index("default", "handbook") is not None)
        world.services.syncs.ask("default", "handbook")

        def asked() -> bool:
            found = pod.api.client.get(f"{GROUP}/ragindexes/handbook").json()
            return SYNC_REQUESTED in found["metadata"].get("annotations", {})

        await world.until(asked)
    # a watch is written down once it has ended, soon after the gateway has
    eventually(
        lambda: {one.right for one in used(pod.api.audit_log, USER, ELSEWHERE)} >= FOLLOWED,
        what="the ends of the watches",
        despite=(json.JSONDecodeError,),  # a line may be half written
    )
    uses = list(used(pod.api.audit_log, USER, ELSEWHERE))
    refused = {str(one.right) for one in uses if not one.allowed}
    assert not refused, "asked for and not granted: " + ", ".join(sorted(refused))
    idle = {str(one) for one in granted(rendered(), ACCOUNT) - {one.right for one in uses}}
    assert not idle, "granted and never used: " + ", ".join(sorted(idle))
