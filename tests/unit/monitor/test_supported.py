"""How many answers their passages carry: which are looked at, how they score, how sure that is."""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from nexus_knowledge.errors import EmbedderUnavailable, EmbeddingError
from nexus_knowledge.ledger import Response
from nexus_knowledge.prompting.prompt import NOTHING_RELEVANT
from nexus_monitor.cells import Vectors
from nexus_monitor.metrics import Metrics
from nexus_monitor.scoring import Scores
from nexus_monitor.supported import (
    LEAST,
    SAMPLE,
    Supported,
    Version,
    grounded,
    highest,
    of_the_newest,
    sampled,
)

PASSAGE = "The filter is changed every 30 days. Gloves are worn."
SAID = "The filter is changed every 30 days."
MADE_UP = "Ask your dentist about Zanzibar."
COUNTS = st.integers(0, 500).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of)))


def answer(number: int, said: str = SAID, **more: Any) -> Response:
    values: dict[str, Any] = {
        "index": "handbook",
        "passages": [{"text": PASSAGE, "score": 0.8}],
        "revision": "r1",
        **more,
    }
    model = values.pop("model", "assistant")
    return Response(f"id-{number}", "default", model, "How often?", said, **values)


class Words:
    """An embedder of hashed words, which counts what it was asked."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, texts: Sequence[str]) -> Vectors:
        self.texts += texts
        rows = np.zeros((len(texts), 512), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().replace(".", " ").split():
                row[zlib.crc32(word.encode()) % 512] += 1
        return rows


@given(counts=COUNTS)
@settings(deadline=None)
def test_the_bounds_are_wilsons_of_one_side(counts: tuple[int, int]) -> None:
    count, of = counts
    found = Supported(answers=of, scored=of, supported=count)
    assert 0 <= found.lower <= found.share <= found.upper <= 1
    if of:
        known = binomtest(count, of).proportion_ci(0.9, "wilson")  # both sides: 5 % on each
        assert (found.lower, found.upper) == pytest.approx((known.low, known.high), abs=1e-4)
        assert highest(min(count + 1, of), of) >= found.upper
    else:
        assert (found.lower, found.upper) == (0, 1)


def test_only_answers_that_a_model_gave_from_passages_are_looked_at() -> None:
    assert grounded(answer(1))
    for other in (
        answer(1, index=""),
        answer(1, passages=[]),
        answer(1, passages=[{"text": " "}, {"text": None}, {}]),
        answer(1, NOTHING_RELEVANT),
        answer(1, " \n"),
    ):
        assert not grounded(other)


def test_of_each_model_the_version_that_answered_last_counts() -> None:
    old, new = answer(1), answer(2, revision="r2")
    tuned = answer(3, model="assistant:tuned", adapter_version="7")
    late = answer(4)  # of a pod that had not ended yet
    again = answer(5, revision="r2")
    canned = answer(6, NOTHING_RELEVANT, revision="")
    assert of_the_newest([old, new, tuned, late, again, canned]) == {
        Version("assistant", "handbook", "r2", ""): [new, again],
        Version("assistant:tuned", "handbook", "r1", "7"): [tuned],
    }
    assert of_the_newest([canned]) == {}


IDS = st.lists(st.text(max_size=8), max_size=400, unique=True)


@given(ids=IDS, new=IDS, chance=st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_a_sample_is_drawn_by_ids_alone(ids: list[str], new: list[str], chance: Any) -> None:
    answers = [replace(answer(0), response_id=one) for one in ids]
    drawn = sampled(answers)
    assert len(drawn) == min(len(ids), SAMPLE)
    chance.shuffle(answers)
    assert sampled(answers) == drawn
    # What comes may push answers out; of the others none comes back in by that.
    more = [replace(answer(0), response_id=one) for one in new if one not in ids]
    assert {one.response_id for one in sampled([*answers, *more])} <= {
        one.response_id for one in [*drawn, *more]
    }


def test_a_sample_is_spread_over_its_time() -> None:
    drawn = {one.response_id for one in sampled([answer(number) for number in range(2000)])}
    early = sum(f"id-{number}" in drawn for number in range(1000))
    assert 70 <= early <= 130  # 100 of 200; ids are fixed, so the sample is


def test_answers_are_scored_a_few_in_each_look_and_each_once() -> None:
    embed = Words()
    scores = Scores(embed)
    answers = [answer(number, SAID if number % 4 else MADE_UP) for number in range(60)]
    first = scores.of(answers, more=40)
    assert (first.answers, first.scored, first.enough) == (60, 40, False)
    asked = len(embed.texts)
    assert asked == len(set(embed.texts))  # the passages are those of all
    second = scores.of(answers, more=40)
    assert (second.scored, second.supported, second.enough) == (60, 45, True)
    assert set(second.unsupported) <= {f"id-{number}" for number in range(0, 60, 4)}
    assert second.share == 0.75
    embed.texts.clear()
    scores.forget()
    assert scores.of(answers, more=40) == second
    assert embed.texts == []
    scores.forget()
    scores.forget()  # a look without them: they have left the window
    assert scores.of(answers, more=0).scored == 0


def test_an_embedder_that_is_away_ends_the_look_and_costs_no_scores() -> None:
    words, left = Words(), 3

    def embed(texts: Sequence[str]) -> Vectors:
        nonlocal left
        left -= 1
        if left < 0:
            raise EmbedderUnavailable("away")
        return words(texts)

    scores = Scores(embed)
    answers = [answer(number, f"{SAID} {number}") for number in range(5)]
    with pytest.raises(EmbedderUnavailable):
        scores.of(answers, more=5)
    assert scores.of(answers, more=0).scored == 3


def test_an_answer_that_the_embedder_refuses_or_cannot_place_counts_as_neither() -> None:
    def embed(texts: Sequence[str]) -> Vectors:
        if "bad" in " ".join(texts):
            raise EmbeddingError("too long")
        return np.full((len(texts), 4), np.nan, np.float32)

    found = Scores(embed).of([answer(1, "bad"), answer(2)], more=9)
    assert (found.answers, found.scored, found.supported, found.unsupported) == (2, 0, 0, ())


def test_long_answers_and_sentences_are_cut() -> None:
    embed = Words()
    Scores(embed).of([answer(1, "word " * 100_000)], more=1)
    assert max(len(one) for one in embed.texts) <= 300


def test_shares_are_shown_from_the_count_on_that_says_something() -> None:
    metrics = Metrics()
    version = Version("assistant:tuned", "handbook", "r1", "7")
    labels = {
        "tenant": "default",
        "model": "assistant:tuned",
        "index": "handbook",
        "revision": "r1",
        "version": "7",
    }

    def shown(name: str) -> float | None:
        return metrics.registry.get_sample_value(f"nexus_monitor_answers_{name}", labels)

    few = Supported(answers=900, scored=LEAST - 1, supported=3)
    metrics.show_support({("default", version): few}, least=0.5)
    assert (shown("scored"), shown("supported_ratio")) == (LEAST - 1, None)
    enough = Supported(answers=900, scored=100, supported=40)
    metrics.show_support({("default", version): enough}, least=0.5)
    assert (shown("scored"), shown("supported_ratio")) == (100, 0.4)
    assert shown("supported_least_ratio") == 0.5
    assert shown("supported_lower_bound_ratio") == enough.lower
    assert shown("supported_upper_bound_ratio") == enough.upper
    metrics.show_support({}, least=0.5)
    assert shown("scored") is None
