"""Per-item results as a file, and the groups of their items."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_evaluation import results
from nexus_evaluation.errors import BadResults
from nexus_evaluation.golden import GoldenItem
from nexus_evaluation.results import ItemResult, Slices
from nexus_evaluation.slices import length_bucket, slices

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)
drawn_results = st.builds(
    ItemResult,
    id=texts.filter(bool),
    cluster=texts.filter(bool),
    slices=st.builds(Slices, language=texts, length=texts, topic=texts),
    answer=texts,
    metrics=st.dictionaries(texts, st.floats(0, 1)),
    latency_ms=st.floats(0, 1e6),
)


@given(st.lists(drawn_results, max_size=4))
def test_what_is_written_is_read_back(drawn: list[ItemResult]) -> None:
    assert results.read(results.write(drawn)) == tuple(drawn)


@given(st.lists(drawn_results, max_size=5, unique_by=lambda item: item.id), st.randoms())
def test_digest_and_means_do_not_depend_on_the_order(
    drawn: list[ItemResult], random: Random
) -> None:
    shuffled = list(drawn)
    random.shuffle(shuffled)
    assert results.results_digest(shuffled) == results.results_digest(drawn)
    assert results.means(shuffled) == results.means(drawn)


def test_a_score_that_is_no_number_is_kept_for_the_gate_to_refuse() -> None:
    lost = ItemResult(id="a", cluster="a", answer="", metrics={"f1": math.nan, "bleu": math.inf})
    (again,) = results.read(results.write([lost]))
    assert math.isnan(again.metrics["f1"])
    assert again.metrics["bleu"] == math.inf


def test_only_metrics_of_every_item_are_averaged() -> None:
    first = ItemResult(id="a", cluster="a", answer="", metrics={"f1": 1.0, "bleu": 1.0})
    second = ItemResult(id="b", cluster="b", answer="", metrics={"f1": 0.0})
    assert results.means([first, second]) == {"f1": 0.5}
    assert results.means([]) == {}


def test_errors_name_the_line() -> None:
    with pytest.raises(BadResults, match=r"candidate\.jsonl, line 2: cluster: Field required"):
        results.read(b'\n{"id": "a", "answer": "", "metrics": {}}', "candidate.jsonl")


def test_groups_of_an_item() -> None:
    item = GoldenItem(
        id="a", question="How hot?", references=("x",), language="de-AT", topic=" Pumps "
    )
    assert slices(item) == Slices(language="de", length="short", topic="pumps")
    assert slices(item).named() == {"language": "de", "length": "short", "topic": "pumps"}
    assert Slices().named() == {}


@pytest.mark.parametrize(
    ("question", "bucket"),
    [
        ("one " * 8, "short"),
        ("one " * 9, "medium"),
        ("one " * 21, "long"),
        ("", "short"),
        ("ポンプの最高温度は何度ですか", "short"),
        ("ポンプの最高温度は何度ですかまた最低温度は何度になりますか", "medium"),
    ],
)
def test_length_counts_words_also_where_no_spaces_are_written(question: str, bucket: str) -> None:
    assert length_bucket(question) == bucket
