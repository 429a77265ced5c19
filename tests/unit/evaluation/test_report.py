"""The report: one page that runs nothing, fetches nothing and escapes everything."""

from html.parser import HTMLParser
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_evaluation.diff import diff
from nexus_evaluation.errors import BadResults
from nexus_evaluation.gate import decide
from nexus_evaluation.golden import GoldenItem
from nexus_evaluation.observed import Observed
from nexus_evaluation.plots import forest, histogram
from nexus_evaluation.policy import GatePolicy
from nexus_evaluation.report import render
from nexus_evaluation.results import ItemResult

from .gate_cases import drawn, golden, improved, results, worsened

KEY = golden(120, 40)
EVIL = '<script>alert("x")</script>&<img src=//x onerror=y>'


class Page(HTMLParser):
    """Collects what a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def sides(seed: int = 1) -> tuple[list[ItemResult], list[ItemResult]]:
    random = Random(seed)
    scores = drawn(random, 120, "f1", 0.5)
    better = worsened(random, improved(random, scores, "f1", 0.6, 0.4), "f1", 0.1, 0.3)
    return results(KEY, better, "f1", EVIL), results(KEY, scores, "f1", EVIL)


def items() -> list[GoldenItem]:
    return [
        GoldenItem(id=name, question=f"{name} {EVIL}", references=(EVIL,), document=document)
        for name, document in KEY.documents.items()
    ]


def page(policy: GatePolicy, *, alone: bool = False) -> Page:
    candidate, production = sides()
    found = decide(policy, KEY, candidate, None if alone else production, blocked=EVIL)
    return Page(
        render(found, items(), candidate, None if alone else production, title=f"Job {EVIL}")
    )


def test_the_page_runs_and_fetches_nothing_and_escapes_every_text() -> None:
    found = page(GatePolicy(metric="f1", floors={"f1": 0.1}))
    assert not {"script", "img", "iframe", "link", "object", "form"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert not [name for name, _ in found.attributes if name in {"src", "href", "xlink:href"}]
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in found.attributes
    assert EVIL in found.text


def test_the_page_holds_verdict_numbers_slices_and_items() -> None:
    found = page(GatePolicy(metric="f1"))
    candidate, production = sides()
    decision = decide(GatePolicy(metric="f1"), KEY, candidate, production, blocked=EVIL)
    assert decision.message in found.text
    assert decision.golden_digest in found.text
    assert "language: de" in found.text
    assert f"{decision.comparison.lower:+.3f}" in found.text if decision.comparison else False
    for heading in ("Better: ", "Worse: ", "Reworded: ", "How it was decided"):
        assert heading in found.text


def test_a_page_without_production_and_one_of_refused_results_are_pages_too() -> None:
    assert "names no floor" in page(GatePolicy(metric="f1"), alone=True).text.replace(EVIL, "") or (
        "a person is asked" in page(GatePolicy(metric="f1"), alone=True).text
    )
    candidate, production = sides()
    candidate.append(candidate[0])
    refused = decide(GatePolicy(metric="f1"), KEY, candidate, production)
    text = Page(render(refused, items(), candidate, production, title="Job")).text
    assert "DuplicateIds" in text
    assert "refused before any mean" in text


def test_changed_questions_and_latency_stand_beside_the_decision() -> None:
    candidate, production = sides()
    decision = decide(GatePolicy(), KEY, candidate, production)
    seen = Observed.of(
        {
            "behaviour": {
                "candidate": [stood("courtesy", 3)],
                "production": [stood("courtesy", 4)],
            },
            "latency": {"candidate": MILLISECONDS, "production": None},
        }
    )
    made = render(decision, items(), candidate, production, title="Job", observed=seen)
    text = "".join(Page(made).text.split())
    assert "invariance:courtesy3of44of4" in text
    assert "latency,p95(ms)20.5" in text
    plain = Page(render(decision, items(), candidate, production, title="Job")).text
    assert "courtesy" not in plain


def test_what_was_observed_has_rows_and_figures_of_the_sides_that_there_are() -> None:
    alone = Observed.of({"behaviour": {"candidate": [stood("typos", 1)]}, "latency": {}})
    assert alone.rows() == (("invariance: typos", "1 of 4", ""),)
    assert dict(alone.figures()) == {"candidate.behaviour.typos": 0.25}
    timed = Observed.of({"latency": {"production": MILLISECONDS}})
    assert [row.production for row in timed.rows()] == ["11.0", "10.0", "20.5", "30.0"]
    assert dict(timed.figures())["production.latencyMs.p95"] == 20.5
    assert Observed.of({}).rows() == ()


MILLISECONDS = {"mean": 11.0, "p50": 10.0, "p95": 20.5, "longest": 30.0}


def stood(name: str, passed: int) -> dict[str, object]:
    interval = {"share": passed / 4, "lower": 0.0, "upper": 1.0}
    return {
        "kind": "invariance", "name": name, "items": 4, "passed": passed, **interval, "failed": [],
    }  # fmt: skip


def test_the_same_decision_gives_the_same_page() -> None:
    candidate, production = sides()
    decision = decide(GatePolicy(metric="f1"), KEY, candidate, production)
    pages = {render(decision, items(), candidate, production, title="Job") for _ in range(2)}
    assert len(pages) == 1


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=50))
def test_the_histogram_counts_every_item(differences: list[float]) -> None:
    bars = histogram(differences)
    counted = sum(int(bar.label.split()[0]) for bar in bars)
    assert counted == len(differences)
    assert all(0 <= bar.height <= 120 and bar.y >= 10 for bar in bars)


def test_the_forest_stays_on_its_axis() -> None:
    candidate, production = sides()
    decision = decide(GatePolicy(metric="f1"), KEY, candidate, production)
    assert decision.comparison is not None
    plot = forest(decision.comparison, decision.slices, least=0.0, margin=0.05)
    assert len(plot.marks) == 1 + len(decision.slices)
    low, high = plot.ticks[0][0], plot.ticks[-1][0]
    for mark in plot.marks:
        assert low <= (mark.low or mark.x) <= mark.x <= (mark.high or mark.x) <= high


def test_a_diff_names_what_got_better_and_what_got_worse() -> None:
    def result(name: str, score: float, answer: str = "a") -> ItemResult:
        return ItemResult(id=name, cluster=name, answer=answer, metrics={"f1": score})

    before = [
        result("a", 0.5),
        result("b", 0.5),
        result("c", 0.5),
        result("d", 1.0),
        result("x", 0),
    ]
    after = [
        result("a", 0.6), result("b", 0.9), result("c", 0.5, "b"), result("d", 0.0), result("y", 0),
    ]  # fmt: skip
    found = diff([*before, result("s", 1)], [*after, result("s", 1)], "f1")
    assert [one.id for one in found.better] == ["b", "a"]
    assert [one.id for one in found.worse] == ["d"]
    assert [one.id for one in found.reworded] == ["c"]
    assert (found.same, found.only_before, found.only_after) == (1, ("x",), ("y",))
    with pytest.raises(BadResults, match="before: item 'a' has more than one result"):
        diff([*before, before[0]], after, "f1")
    with pytest.raises(BadResults, match="no score 'bleu'"):
        diff(before, after, "bleu")
