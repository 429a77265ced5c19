"""What drift asks for: documents before the model, a person before a promotion."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_api.index_state import staleness
from nexus_api.ragindex import RagIndex
from nexus_monitor.assessment import assess
from nexus_monitor.bands import Band, Bands
from nexus_monitor.drift import Drift
from nexus_monitor.triage import Action, decide

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def drift(lower: float, fallen: float = 0.0, feature: str = "answerLength") -> Drift:
    return Drift(
        feature=feature,
        reference=5000,
        current=5000,
        distance=lower,
        lower=lower,
        fallen=fallen,
        stability=0.0,
        moved=(("short", 0.1),),
    )


@pytest.mark.parametrize(
    ("lower", "fallen", "stale", "action", "blocked"),
    [
        (0.019, 0.0, "", Action.NOTHING, False),
        (0.019, 0.0, "old", Action.NOTHING, False),
        (0.02, 0.0, "", Action.WARN, False),
        (0.02, 0.0, "old", Action.RESYNC, False),
        (0.05, 0.0, "", Action.RETRAIN, False),
        (0.10, 0.0, "", Action.RETRAIN, False),
        (0.10, 0.0, "old", Action.RESYNC, False),
        (0.08, 0.02, "", Action.RETRIEVAL, False),
        (0.08, 0.019, "", Action.RETRAIN, False),
        (0.08, 0.08, "old", Action.RESYNC, False),
        (0.11, 0.0, "", Action.ASK_PERSON, True),
        (0.11, 0.0, "old", Action.RESYNC, True),
        (0.11, 0.05, "", Action.RETRIEVAL, True),
    ],
)
def test_what_is_asked_for(
    lower: float, fallen: float, stale: str, action: Action, blocked: bool
) -> None:
    found = decide(
        [drift(0.0), drift(lower), drift(fallen, fallen, "topScore")], Bands(), stale=stale
    )
    assert (found.action, found.blocked) == (action, blocked)
    assert f"{lower:.1%}" in found.message


@pytest.mark.parametrize("stale", ["", "old"])
@pytest.mark.parametrize(
    ("lower", "fallen", "action"),
    [
        (0.08, 0.02, Action.SERVING),
        (0.11, 0.11, Action.SERVING),
        (0.08, 0.019, None),  # lists in place of prose, say
    ],
)
def test_broken_answers_are_a_persons_matter_before_documents_and_model(
    lower: float, fallen: float, action: Action | None, stale: str
) -> None:
    found = decide([drift(0.0), drift(lower, fallen, "form")], Bands(), stale=stale)
    assert found.action is (action or (Action.RESYNC if stale else Action.RETRAIN))
    assert (found.reason == "BrokenAnswers") == (action is Action.SERVING)
    assert found.blocked == (lower > 0.10)


UNIT = st.floats(0, 1)


@settings(deadline=None)
@given(
    lowers=st.lists(UNIT, min_size=1, max_size=7),
    fallen=UNIT,
    broken=UNIT,
    stale=st.sampled_from(["", "x"]),
)
def test_no_run_is_asked_for_where_server_or_documents_are_at_fault(
    lowers: list[float], fallen: float, broken: float, stale: str
) -> None:
    drifts = [drift(one) for one in lowers]
    drifts += [drift(fallen, fallen, "topScore"), drift(broken, broken, "form")]
    found = decide(drifts, Bands(), stale=stale)
    worst = max(*lowers, fallen, broken)
    assert found.band is Bands().of(worst)
    assert found.blocked == (worst > 0.10)
    if found.action is Action.RETRAIN:
        assert not stale
        assert max(fallen, broken) < 0.02
        assert 0.05 <= worst <= 0.10
    assert (found.action is Action.SERVING) == (broken >= 0.02)
    if worst >= 0.02 > broken and stale:
        assert found.action is Action.RESYNC
    assert (found.action is Action.NOTHING) == (worst < 0.02)


def test_too_few_answers_say_so() -> None:
    one = {"questionLength": "short"}
    found = assess([one] * 199, [one] * 5000, Bands())
    assert (found.decision.reason, found.decision.band, found.drifts) == ("TooFewAnswers", None, ())
    assert not found.decision.blocked


def test_a_feature_that_few_answers_have_is_left_out() -> None:
    plain, grounded = {"refusal": "answered"}, {"refusal": "answered", "topScore": "no passage"}
    found = assess([plain] * 300, [*[plain] * 300, *[grounded] * 100], Bands())
    assert [one.feature for one in found.drifts] == ["refusal"]
    assert found.decision.band is Band.QUIET


def index(**status: Any) -> RagIndex:
    return RagIndex.model_validate(
        {
            "metadata": {"name": "handbook", "namespace": "default"},
            "spec": {"sync": {"interval": "10m"}},
            "status": status,
        }
    )


def at(minutes: int) -> str:
    return (NOW - timedelta(minutes=minutes)).isoformat()


def test_an_index_is_stale_when_its_syncs_stopped_or_failed() -> None:
    assert staleness(index(lastSyncTime=at(30)), NOW) == ""
    assert "synced last on 2026-06-01 11:29" in staleness(index(lastSyncTime=at(31)), NOW)
    assert "never synced" in staleness(index(), NOW)
    failed = {"type": "Synced", "status": "False", "reason": "Failed", "lastTransitionTime": at(1)}
    assert "(Failed)" in staleness(index(lastSyncTime=at(1), conditions=[failed]), NOW)
    suspended = index().model_dump(by_alias=True)
    suspended["spec"]["source"]["suspend"] = True
    assert staleness(RagIndex.model_validate(suspended), NOW) == ""
