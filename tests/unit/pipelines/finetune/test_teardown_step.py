"""`finetune-teardown`: the end of a job, as its Workflow calls it."""

from pathlib import Path

import pytest

from nexus_knowledge.objects import open_store
from nexus_pipelines.cli import run
from nexus_pipelines.finetune.store import FineTuneStore


def test_what_the_runs_wrote_is_gone_and_may_be_gone_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEXUS_WORK_URL", tmp_path.as_uri())
    written = FineTuneStore(open_store(tmp_path.as_uri()), "team", "support", "run-1")
    written.put_lines("select/train.jsonl", [{"id": "e1"}])
    written.put_json("select/selection.json", {"uid": "u"})
    step = ["finetune-teardown", "--namespace=team", "--job=support", "--uid=u"]
    assert run(step) == 0
    assert "FineTuneJob team/support: 1 runs removed" in capsys.readouterr().err
    assert written.runs() == []
    assert run(step) == 0


def test_a_name_that_leads_elsewhere_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    step = ["finetune-teardown", "--namespace=team", "--job=../other", "--uid=u"]
    assert run(step) == 2
    assert "no name of a Kubernetes object" in capsys.readouterr().err
