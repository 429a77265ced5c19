"""The line by which a training says how far it is."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_api.training_progress import TrainingProgress

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2999, 12, 31)).map(  # noqa: DTZ001 - st wants it
    lambda at: at.replace(microsecond=0, tzinfo=UTC)
)
LOSSES = st.floats(-1e9, 1e9, allow_nan=False).map(lambda loss: float(f"{loss:.6g}"))
TOLD = st.builds(
    TrainingProgress,
    done=st.integers(0, 10**9 - 1),
    total=st.integers(1, 10**9 - 1),
    loss=LOSSES,
    end=st.none() | MOMENTS,
)


@given(TOLD)
def test_a_line_is_read_as_it_was_written(told: TrainingProgress) -> None:
    assert TrainingProgress.parse(told.line()) == told
    assert 0 <= told.percent <= 100


@given(st.text())
def test_any_other_line_is_none(text: str) -> None:
    assert TrainingProgress.parse(text) is None


@pytest.mark.parametrize(
    "line",
    [
        "progress step=1/0 loss=1 end=-",
        "progress step=1/2 loss=nan end=-",
        "progress step=1/2 loss=inf end=-",
        "progress step=1/2 loss=1e999 end=-",
        "progress step=1/2 loss=1.5 end=2026-02-30T00:00:00Z",
        "progress step=1/2 loss=1.5 end=- and more",
        "x progress step=1/2 loss=1.5 end=-",
        "progress step=\u0661/2 loss=1.5 end=-",
        "progress step=1/2 loss=1.5 end=",
    ],
)
def test_what_is_nearly_a_line_is_none(line: str) -> None:
    assert TrainingProgress.parse(line) is None


@given(st.lists(TOLD, min_size=1, max_size=4), st.lists(st.text(), max_size=3))
def test_the_last_word_counts(told: list[TrainingProgress], others: list[str]) -> None:
    lines = [*(one.line() for one in told), *others]
    assert TrainingProgress.last_of(lines) == told[-1]
    assert TrainingProgress.last_of(others) is None
