"""What a spec says of a gate: read as it stands, or refused."""

import pytest

from nexus_evaluation.errors import BadPolicy
from nexus_evaluation.policy import GatePolicy


def test_a_floor_that_is_named_twice_is_refused_and_not_weakened() -> None:
    high, low = {"metric": "f1", "min": "0.9"}, {"metric": "f1", "min": "0.1"}
    for floors in ([high, low], [low, high]):
        with pytest.raises(BadPolicy, match="a metric is named twice"):
            GatePolicy.from_spec({"floors": floors})
    both = GatePolicy.from_spec({"floors": [high, {"metric": "bleu", "min": "0.2"}]})
    assert both.floors == {"f1": 0.9, "bleu": 0.2}


def test_a_ceiling_is_asked_for_by_name() -> None:
    assert GatePolicy.from_spec({"maxToxicity": "0.02"}).ceilings == {"toxicity": 0.02}
    assert GatePolicy.from_spec({"maxToxicity": "1"}).ceilings == {}
    assert GatePolicy().ceilings == {}


@pytest.mark.parametrize(
    ("evaluation", "field"),
    [
        ({"minGain": "NaN"}, "evaluation.minGain"),
        ({"minGain": "0.2", "detectableEffect": "0.1"}, "evaluation"),
        ({"alpha": "0"}, "evaluation.alpha"),
        ({"alpha": "nan"}, "evaluation.alpha"),
        ({"floors": [{"metric": "f1", "min": "inf"}]}, "evaluation.floors.f1"),
        ({"floors": [{"metric": "f1"}]}, "evaluation.floors"),
        ({"floors": ["f1"]}, "evaluation.floors"),
        ({"decisions": 0}, "evaluation.decisions"),
        ({"maxToxicity": "nan"}, "evaluation.maxToxicity"),
    ],
)
def test_figures_that_decide_nothing_are_refused(evaluation: dict[str, object], field: str) -> None:
    with pytest.raises(BadPolicy, match=field):
        GatePolicy.from_spec(evaluation)
