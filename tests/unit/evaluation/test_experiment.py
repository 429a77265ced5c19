"""The report of an experiment: gains over the baseline, nothing runs, every text is escaped."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_evaluation.experiment import Arm, gain, gains, render
from nexus_evaluation.golden import GoldenItem, GoldenSet
from nexus_evaluation.plots import Span, spans
from nexus_evaluation.results import ItemResult

from .test_report import EVIL, Page

GOLDEN = GoldenSet(
    tuple(
        GoldenItem(id=f"q{n}", question=f"{n} {EVIL}", references=(EVIL,), document=f"d{n % 12}")
        for n in range(48)
    ),
    EVIL,
    "3",
)


def arm(run: str, mean: float, baseline: str = "", items: int = 48) -> Arm:
    random = Random(run)
    results = tuple(
        ItemResult(
            id=item.id,
            cluster=item.document,
            answer=f"{run} {EVIL}",
            metrics={"f1": min(max(random.gauss(mean, 0.05), 0.0), 1.0)},
            latency_ms=10.0,
        )
        for item in GOLDEN.items[:items]
    )
    return Arm(run, EVIL, "brief", "words", results, {"q1": EVIL}, baseline)


ARMS = [arm("e.0", 0.3), arm("e.1", 0.6, "e.0"), arm("e.2", 0.3, "e.0")]


def test_a_gain_is_the_mean_difference_with_its_interval() -> None:
    better, same = (gain(one, ARMS[0], "f1") for one in ARMS[1:])
    assert better.by == pytest.approx(ARMS[1].mean("f1") - ARMS[0].mean("f1"))
    assert better.lower is not None
    assert better.upper is not None
    assert 0.2 < better.lower < better.by < better.upper < 0.4
    assert (better.better, better.worse) == (48, 0)
    assert same.lower is not None
    assert same.lower < 0
    assert gains(ARMS, "f1") == {"e.1": better, "e.2": same}


def test_of_few_documents_no_interval_is_told() -> None:
    found = gain(arm("e.1", 0.6, "e.0", items=4), arm("e.0", 0.3, items=4), "f1")
    assert (found.lower, found.upper) == (None, None)


def test_the_page_shows_every_arm_and_escapes_every_text() -> None:
    found = Page(render(f"Experiment {EVIL}", GOLDEN, ARMS, "f1"))
    assert not {"script", "img", "iframe", "link", "object", "form"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert not [name for name, _ in found.attributes if name in {"src", "href", "xlink:href"}]
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in found.attributes
    assert GOLDEN.digest in found.text
    assert f"{gain(ARMS[1], ARMS[0], 'f1').by:+.3f}" in found.text
    assert found.tags.count("details") == len(GOLDEN.items)
    assert found.tags.count("circle") == 2


def test_baselines_alone_are_a_page_too() -> None:
    assert "svg" not in Page(render("Experiment", GOLDEN, ARMS[:1], "f1")).tags


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(*[st.floats(-1, 1)] * 3), min_size=1, max_size=20))
def test_the_plot_stays_on_its_axis(values: list[tuple[float, float, float]]) -> None:
    rows = [Span("x", middle, low, high) for low, middle, high in map(sorted, values)]
    plot = spans(rows)
    low, high = plot.ticks[0][0], plot.ticks[-1][0]
    for mark in plot.marks:
        assert mark.low is not None
        assert mark.high is not None
        assert low <= mark.low <= mark.x <= mark.high <= high
