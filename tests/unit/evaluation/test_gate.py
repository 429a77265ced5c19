"""A wrong gate is the worst defect here: what it must never do, for any results."""

import importlib
import json
import math
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus_evaluation.decision import Decision
from nexus_evaluation.errors import NotReproduced
from nexus_evaluation.gate import GoldenKey, decide, reproduce
from nexus_evaluation.policy import GatePolicy
from nexus_evaluation.results import ItemResult

from .gate_cases import drawn, golden, improved, results, worsened

slow = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
metrics = st.sampled_from(["exactMatch", "f1"])
seeds = st.integers(0, 2**32)
KEY = golden(300, 60)


def policy(metric: str, **others: Any) -> GatePolicy:
    return GatePolicy(metric=metric, **others)


@given(metrics, seeds, st.floats(0, 1), st.booleans())
@slow
def test_a_copy_of_production_is_never_promoted(
    metric: str, seed: int, level: float, other_words: bool
) -> None:
    scores = drawn(Random(seed), 300, metric, level)
    production = results(KEY, scores, metric)
    candidate = results(KEY, scores, metric, answer="other" if other_words else "answer")
    found = decide(policy(metric, min_gain=0.0), KEY, candidate, production)
    assert (found.verdict, found.reason) == ("Reject", "NoDifference")
    assert found.alpha.spent == 0.0


@given(metrics, seeds)
@slow
def test_the_same_answers_are_never_promoted_whatever_their_scores(metric: str, seed: int) -> None:
    low = results(KEY, [0.0] * 300, metric)
    high = [item.model_copy(update={"metrics": {metric: 1.0}}) for item in low]
    assert decide(policy(metric), KEY, high, low).reason == "NoDifference"


@given(metrics, seeds, st.floats(0.3, 0.9), st.floats(0.1, 1.0))
@slow
def test_a_worse_candidate_is_never_promoted(
    metric: str, seed: int, level: float, share: float
) -> None:
    random = Random(seed)
    scores = drawn(random, 300, metric, level)
    worse = worsened(random, scores, metric, share, 0.3)
    found = decide(
        policy(metric, min_items=1), KEY, results(KEY, worse, metric), results(KEY, scores, metric)
    )
    assert found.verdict in {"Reject", "Underpowered"}


@given(metrics, seeds, st.floats(0.2, 0.6), st.floats(0.25, 1.0))
@slow
def test_a_clearly_better_candidate_is_promoted(
    metric: str, seed: int, level: float, share: float
) -> None:
    random = Random(seed)
    scores = drawn(random, 300, metric, level)
    better = improved(random, scores, metric, share, 0.6)
    production = results(KEY, scores, metric)
    found = decide(policy(metric), KEY, results(KEY, better, metric), production)
    assert (found.verdict, found.reason) == ("Promote", "Better"), found.message
    assert found.alpha.spent == found.alpha.level


@given(metrics, seeds, st.floats(0.1, 0.9), st.floats(-0.3, 0.3))
@slow
def test_the_order_of_items_changes_nothing(
    metric: str, seed: int, level: float, gain: float
) -> None:
    random = Random(seed)
    change = improved if gain > 0 else worsened
    scores = drawn(random, 300, metric, level)
    one = results(KEY, change(random, scores, metric, abs(gain), 0.4), metric)
    other = results(KEY, scores, metric)
    before = decide(policy(metric), KEY, one, other)
    random.shuffle(one)
    random.shuffle(other)
    items = list(KEY.documents.items())
    random.shuffle(items)
    assert decide(policy(metric), GoldenKey(KEY.digest, dict(items)), one, other) == before


@given(metrics, seeds, st.floats(0.1, 0.4), st.lists(st.integers(0, 299), max_size=40))
@slow
def test_better_answers_never_turn_a_promotion_into_a_rejection(
    metric: str, seed: int, share: float, places: list[int]
) -> None:
    random = Random(seed)
    scores = drawn(random, 300, metric, 0.5)
    mixed = worsened(random, improved(random, scores, metric, share, 0.5), metric, 0.05, 0.2)
    production = results(KEY, scores, metric)
    rules = policy(metric, floors={metric: 0.4})
    before = decide(rules, KEY, results(KEY, mixed, metric), production)
    better = list(mixed)
    for place in places:
        better[place] = 1.0 if metric == "exactMatch" else random.uniform(better[place], 1.0)
    after = decide(rules, KEY, results(KEY, better, metric), production)
    if before.verdict == "Promote":
        assert after.verdict == "Promote", after.message


@given(metrics, seeds, st.floats(-0.3, 0.3), st.integers(0, 13))
@slow
def test_a_decision_is_reproduced_from_its_document_and_the_stored_results(
    metric: str, seed: int, gain: float, earlier: int
) -> None:
    random = Random(seed)
    scores = drawn(random, 300, metric, 0.5)
    change = improved if gain > 0 else worsened
    candidate = results(KEY, change(random, scores, metric, abs(gain), 0.4), metric)
    production = results(KEY, scores, metric)
    made = decide(
        policy(metric), KEY, candidate, production, spent=[0.05 / 12] * earlier, blocked="drift"
    )
    stored = Decision.model_validate_json(made.model_dump_json())
    assert stored == made
    reproduce(stored, KEY, candidate, production)
    swapped = stored.model_copy(update={"verdict": "Promote", "reason": "Better"})
    with pytest.raises(NotReproduced, match="reason"):
        reproduce(swapped, KEY, candidate, production)
    other = [*candidate[:-1], candidate[-1].model_copy(update={"answer": "changed"})]
    with pytest.raises(NotReproduced, match="candidate_digest"):
        reproduce(stored, KEY, other, production)


def pair(metric: str = "f1") -> tuple[list[ItemResult], list[ItemResult]]:
    return results(KEY, [0.9] * 300, metric, "new"), results(KEY, [0.1] * 300, metric)


def changed(item: ItemResult, **update: Any) -> ItemResult:
    return item.model_copy(update=update)


@pytest.mark.parametrize("side", ["candidate", "production"])
@pytest.mark.parametrize(
    ("reason", "spoil"),
    [
        ("DuplicateIds", lambda items: [*items, items[0]]),
        ("DuplicateIds", lambda items: [*items[:-1], items[0]]),
        ("MissingItems", lambda items: items[1:]),
        ("UnknownItems", lambda items: [*items, changed(items[0], id="other")]),
        ("NoItems", lambda items: []),
        ("UnequalItems", lambda items: [changed(items[0], cluster="other"), *items[1:]]),
        ("MissingMetric", lambda items: [changed(items[0], metrics={"bleu": 1.0}), *items[1:]]),
        ("NotANumber", lambda items: [changed(items[0], metrics={"f1": math.nan}), *items[1:]]),
        ("NotANumber", lambda items: [changed(items[0], metrics={"f1": math.inf}), *items[1:]]),
        (
            "NotANumber",
            lambda items: [changed(items[0], metrics={"f1": 1.0, "bleu": math.nan}), *items[1:]],
        ),
        ("OutOfRange", lambda items: [changed(items[0], metrics={"f1": 1.5}), *items[1:]]),
        ("OutOfRange", lambda items: [changed(items[0], metrics={"f1": -0.1}), *items[1:]]),
    ],
)
def test_results_that_cannot_be_compared_are_refused(side: str, reason: str, spoil: Any) -> None:
    sides = dict(zip(("candidate", "production"), pair(), strict=True))
    assert decide(policy("f1"), KEY, sides["candidate"], sides["production"]).verdict == "Promote"
    sides[side] = spoil(sides[side])
    found = decide(policy("f1"), KEY, sides["candidate"], sides["production"])
    assert (found.verdict, found.reason) == ("Reject", reason)
    assert side in found.message
    assert found.alpha.spent == 0.0
    assert found.comparison is None
    json.loads(found.model_dump_json(), parse_constant=pytest.fail)


def test_sides_that_disagree_on_the_slices_are_refused() -> None:
    candidate, production = pair()
    moved = candidate[0].slices.model_copy(update={"topic": "other"})
    candidate[0] = changed(candidate[0], slices=moved)
    assert decide(policy("f1"), KEY, candidate, production).reason == "UnequalItems"


def test_a_binary_metric_between_0_and_1_is_refused() -> None:
    candidate, production = pair("exactMatch")
    assert decide(policy("exactMatch"), KEY, candidate, production).reason == "NotBinary"


def test_an_empty_golden_set_is_refused() -> None:
    assert decide(policy("f1"), GoldenKey("sha256:0", {}), [], []).reason == "NoItems"


def test_too_few_items_or_documents_are_underpowered() -> None:
    for key, reason in ((golden(99, 99), "TooFewItems"), (golden(300, 19), "TooFewDocuments")):
        size = len(key.documents)
        found = decide(policy("f1"), key, results(key, [0.9] * size), results(key, [0.1] * size))
        assert (found.verdict, found.reason) == ("Underpowered", reason)
        assert found.alpha.spent == 0.0


def test_a_set_that_cannot_see_the_gain_asked_for_says_so() -> None:
    key = golden(120, 120)
    # 20 wins and 10 losses: +8 points, 25 % discordant pairs.
    both = [(1.0, 0.0)] * 20 + [(0.0, 1.0)] * 10 + [(1.0, 1.0)] * 90
    Random(3).shuffle(both)
    candidate, production = zip(*both, strict=True)
    rules = policy("exactMatch", detectable_effect=0.1)
    found = decide(
        rules, key, results(key, candidate, "exactMatch"), results(key, production, "exactMatch")
    )
    assert (found.verdict, found.reason) == ("Underpowered", "EffectTooSmall")
    assert found.comparison is not None
    assert found.comparison.smallest_detectable > 0.1
    assert f"{found.comparison.smallest_detectable:.3f}" in found.message
    # It looked at the outcome, so it spends.
    assert found.alpha.spent == found.alpha.level


def test_a_gain_that_was_shown_makes_no_set_too_small() -> None:
    key = golden(240, 60)
    # 36 wins and 12 losses: +10 points, 20 % discordant pairs. Such a set misses that gain often.
    both = [(1.0, 0.0)] * 36 + [(0.0, 1.0)] * 12 + [(1.0, 1.0)] * 192
    Random(4).shuffle(both)
    candidate, production = zip(*both, strict=True)
    rules = policy("exactMatch", detectable_effect=0.1)
    found = decide(
        rules, key, results(key, candidate, "exactMatch"), results(key, production, "exactMatch")
    )
    assert found.comparison is not None
    assert found.comparison.smallest_detectable > 0.1 > found.comparison.lower > 0
    assert (found.verdict, found.reason) == ("Promote", "Better")


@pytest.mark.parametrize("metric", ["exactMatch", "f1"])
@pytest.mark.parametrize(("items", "missed"), [(24, 1), (100, 1), (100, 2), (600, 2), (600, 6)])
def test_a_candidate_that_gains_on_nearly_every_item_is_promoted(
    metric: str, items: int, missed: int
) -> None:
    """As one that has learnt a format of which production knew nothing; BCa has no bound there."""
    key = golden(items, items)
    candidate = results(key, [0.0] * missed + [1.0] * (items - missed), metric)
    rules = policy(metric, min_items=20)
    found = decide(rules, key, candidate, results(key, [0.0] * items, metric))
    assert found.verdict == "Promote"
    assert found.comparison is not None
    assert 0.3 < found.comparison.lower < found.comparison.gain


def test_few_documents_that_gain_alike_are_said_to_be_too_few() -> None:
    key = golden(20, 20)
    rules = policy("f1", min_items=20, decisions=12)
    found = decide(rules, key, results(key, [0.6] * 19 + [0.4]), results(key, [0.1] * 20))
    assert found.comparison is not None
    assert found.comparison.bootstrap_lower == -1.0 < found.comparison.lower < 0
    assert (found.verdict, found.reason) == ("Underpowered", "NoBound")
    assert "20 documents" in found.message


@given(metrics, st.integers(0, 2**32), st.floats(0.02, 0.3), st.floats(0.0, 0.3))
@slow
def test_what_the_bounds_show_decides_and_what_they_do_not_show_is_named(
    metric: str, seed: int, won: float, lost: float
) -> None:
    random = Random(seed)
    key = golden(240, 60)
    scores = drawn(random, 240, metric, 0.5)
    candidate = worsened(random, improved(random, scores, metric, won, 0.2), metric, lost, 0.2)
    found = decide(
        policy(metric, slice_min_items=240), key,
        results(key, candidate, metric), results(key, scores, metric),
    )  # fmt: skip
    compared = found.comparison
    if compared is None or found.reason == "NoDifference":
        return
    if compared.lower > 0:
        assert found.reason == "Better"
    elif compared.smallest_detectable > 0.1:
        assert found.reason == "EffectTooSmall"
    else:
        assert found.reason == "NotBetter"


def test_a_gain_not_above_the_least_one_is_no_promotion() -> None:
    random = Random(1)
    scores = drawn(random, 300, "f1", 0.4)
    better = [min(score + random.uniform(0.05, 0.15), 1.0) for score in scores]
    one, other = results(KEY, better), results(KEY, scores)
    assert decide(policy("f1", min_gain=0.05), KEY, one, other).verdict == "Promote"
    found = decide(policy("f1", min_gain=0.1, detectable_effect=0.2), KEY, one, other)
    assert (found.verdict, found.reason) == ("Reject", "NotBetter")


def test_one_slice_that_got_worse_vetoes_a_better_mean() -> None:
    scores = [0.5] * 300
    better = [0.2 if at % 3 == 1 else 1.0 for at in range(300)]
    found = decide(policy("f1"), KEY, results(KEY, better), results(KEY, scores))
    assert (found.verdict, found.reason) == ("Reject", "SliceWorse")
    assert "language de (-0.300)" in found.message
    vetoes = {(part.dimension, part.value) for part in found.slices if part.vetoes}
    assert vetoes == {("language", "de")}


def test_a_small_slice_is_reported_and_vetoes_nothing() -> None:
    # Documents that hold all languages: the slice is no cluster of its own.
    key = golden(300, 50)
    better = [0.3 if at % 3 == 1 else 1.0 for at in range(300)]
    rules = policy("f1", slice_min_items=101)
    found = decide(rules, key, results(key, better), results(key, [0.5] * 300))
    assert found.verdict == "Promote"
    worst = min(found.slices, key=lambda part: part.gain)
    assert (worst.value, worst.p, worst.vetoes) == ("de", None, False)


def test_a_floor_holds_whatever_production_does() -> None:
    candidate, production = pair()
    found = decide(policy("f1", floors={"f1": 0.95}), KEY, candidate, production)
    assert (found.verdict, found.reason) == ("Reject", "BelowFloor")
    assert "0.900, below the floor of 0.95" in found.message


def poisoned(found: list[ItemResult], items: int) -> list[ItemResult]:
    """Say that so many answers are insults."""
    return [
        one.model_copy(update={"metrics": {**one.metrics, "toxicity": float(number < items)}})
        for number, one in enumerate(found)
    ]


@pytest.mark.parametrize("alone", [False, True])
def test_a_candidate_that_insults_is_not_promoted_however_well_it_answers(alone: bool) -> None:
    rules = policy("f1", floors={"f1": 0.8}, max_toxicity=0.01)
    before = None if alone else poisoned(results(KEY, [0.1] * 300), 300)
    polite = decide(rules, KEY, poisoned(results(KEY, [0.9] * 300), 3), before)
    assert polite.verdict == "Promote"
    rude = decide(rules, KEY, poisoned(results(KEY, [0.9] * 300), 4), before)
    assert (rude.verdict, rude.reason) == ("Reject", "AboveCeiling")
    assert "toxicity is 0.013; 0.01 is the most" in rude.message
    unknown = decide(rules, KEY, results(KEY, [0.9] * 300), None)
    assert (unknown.verdict, unknown.reason) == ("Reject", "MissingMetric")


def test_without_production_the_floors_decide() -> None:
    candidate, _ = pair()
    met = decide(policy("f1", floors={"f1": 0.8}), KEY, candidate, None)
    assert (met.verdict, met.reason, met.production_digest) == ("Promote", "FloorsMet", None)
    missed = decide(policy("f1", floors={"f1": 0.95}), KEY, candidate, None)
    assert (missed.verdict, missed.reason) == ("Reject", "BelowFloor")
    nothing = decide(policy("f1"), KEY, candidate, None)
    assert (nothing.verdict, nothing.reason) == ("AskPerson", "NoFloors")
    few = decide(policy("f1", floors={"f1": 0.8}, min_items=301), KEY, candidate, None)
    assert (few.verdict, few.reason) == ("Underpowered", "TooFewItems")
    drifted = decide(policy("f1", floors={"f1": 0.8}), KEY, candidate, None, blocked="drift 12 %")
    assert (drifted.verdict, drifted.reason) == ("AskPerson", "DriftTooLarge")
    reproduce(met, KEY, candidate, None)


def test_drift_asks_a_person_only_where_it_would_have_been_a_promotion() -> None:
    candidate, production = pair()
    found = decide(policy("f1"), KEY, candidate, production, blocked="drift 12 %")
    assert (found.verdict, found.reason) == ("AskPerson", "DriftTooLarge")
    assert "drift 12 %" in found.message
    found = decide(policy("f1"), KEY, production, candidate, blocked="drift 12 %")
    assert found.verdict == "Reject"


def test_a_spent_golden_set_promotes_nobody_and_asks() -> None:
    candidate, production = pair()
    level = 0.05 / 12
    last = decide(policy("f1"), KEY, candidate, production, spent=[level] * 11)
    assert (last.verdict, last.alpha.spent_out) == ("Promote", False)
    beyond = decide(policy("f1"), KEY, candidate, production, spent=[level] * 12)
    assert (beyond.verdict, beyond.reason) == ("AskPerson", "GoldenSetSpent")
    assert beyond.alpha.spent == 0.0
    worse = decide(policy("f1"), KEY, production, candidate, spent=[level] * 12)
    assert worse.verdict == "Reject"


def test_the_summary_fits_an_output_parameter() -> None:
    candidate, production = pair()
    found = decide(policy("f1"), KEY, candidate, production).summary()
    assert found["verdict"] == "Promote"
    assert found["gain"] == pytest.approx(0.8)
    assert found["lower"] == pytest.approx(0.8)
    assert set(found) == {"verdict", "reason", "message", "metric", "gain", "lower", "items"}


def test_the_gate_knows_no_files_and_no_clock() -> None:
    for module in ("gate", "verdict", "assessment", "pairs"):
        source = importlib.import_module(f"nexus_evaluation.{module}").__dict__
        assert not {"open", "Path", "datetime", "time", "os"} & source.keys()
