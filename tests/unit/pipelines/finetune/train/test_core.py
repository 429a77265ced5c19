"""The plan of a run's steps, its learning rate, and what it tells of itself."""

import errno
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_api.training_progress import TrainingProgress
from nexus_pipelines.finetune.train import machine
from nexus_pipelines.finetune.train.core import Schedule, cut, epoch_ends, plan, seconds_left
from nexus_pipelines.finetune.train.errors import DiskFull, OutOfMemory, readable_failures
from nexus_pipelines.finetune.train.progress import Progress

calm = settings(deadline=None)  # other work on the machine is no fault of a plan
LENGTHS = st.lists(st.integers(1, 900), min_size=1, max_size=150)
SIZES = st.integers(1, 16)


@calm
@given(LENGTHS, SIZES, st.integers(1, 3), st.integers(1, 2000), st.integers(0, 9))
def test_every_epoch_sees_every_example_once(
    lengths: list[int], size: int, epochs: int, budget: int, seed: int
) -> None:
    steps = plan(lengths, batch_size=size, epochs=epochs, budget=budget, seed=seed)
    for epoch in range(epochs):
        seen = [at for step in steps if step.epoch == epoch for part in step.parts for at in part]
        assert sorted(seen) == list(range(len(lengths)))
    assert [step.number for step in steps] == list(range(len(steps)))
    assert len(steps) == epochs * math.ceil(len(lengths) / size)


@calm
@given(LENGTHS, SIZES, st.integers(1, 2000))
def test_steps_have_the_batch_size_and_parts_keep_to_the_budget(
    lengths: list[int], size: int, budget: int
) -> None:
    steps = plan(lengths, batch_size=size, epochs=1, budget=budget, seed=0)
    counts = sorted(sum(map(len, step.parts)) for step in steps)
    assert set(counts[1:]) <= {size}
    assert counts[0] == (len(lengths) % size or size)
    for step in steps:
        for part in step.parts:
            assert len(part) == 1 or sum(lengths[at] for at in part) <= budget


@calm
@given(LENGTHS, SIZES)
def test_the_same_seed_gives_the_same_steps_and_the_budget_only_cuts(
    lengths: list[int], size: int
) -> None:
    once, again = (plan(lengths, batch_size=size, epochs=2, budget=500, seed=7) for _ in range(2))
    assert once == again
    tight = plan(lengths, batch_size=size, epochs=2, budget=1, seed=7)
    for step, cut_up in zip(once, tight, strict=True):
        assert [at for part in step.parts for at in part] == [at for (at,) in cut_up.parts]


def test_another_seed_and_another_epoch_give_another_order() -> None:
    lengths = list(range(1, 101))
    steps = plan(lengths, batch_size=4, epochs=2, budget=1000, seed=0)
    other = plan(lengths, batch_size=4, epochs=2, budget=1000, seed=1)
    assert steps != other
    assert [s.parts for s in steps if s.epoch == 0] != [s.parts for s in steps if s.epoch == 1]


def test_what_is_computed_together_is_of_like_length() -> None:
    lengths = [10, 500] * 64
    for step in plan(lengths, batch_size=8, epochs=1, budget=1000, seed=3):
        mixed = [part for part in step.parts if len({lengths[at] for at in part}) > 1]
        assert len(mixed) <= 1


def test_a_step_is_a_random_draw_of_all_lengths() -> None:
    """Steps of one length each learn less: see docs/explanation/training.md."""
    lengths = [10, 500] * 64
    steps = plan(lengths, batch_size=8, epochs=1, budget=10**6, seed=3)
    assert sum(len({lengths[at] for at in step.parts[0]}) == 2 for step in steps) >= 14


def test_a_group_is_cut_where_the_budget_ends() -> None:
    assert list(cut([0, 1, 2, 3], [4, 4, 9, 1], 8)) == [(0, 1), (2,), (3,)]


@calm
@given(st.sampled_from(["cosine", "linear"]), st.integers(0, 50), st.integers(1, 400))
def test_the_rate_rises_then_falls_and_is_never_nothing(kind: str, warmup: int, more: int) -> None:
    schedule = Schedule(kind, 2e-4, warmup, warmup + more)  # type: ignore[arg-type]
    rates = [schedule.rate(step) for step in range(warmup + more)]
    assert all(0 < rate <= 2e-4 for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)


def test_the_linear_rate_is_that_of_transformers() -> None:
    schedule = Schedule("linear", 1.0, 0, 4)
    assert [schedule.rate(step) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]


def test_epochs_end_with_their_last_steps() -> None:
    steps = plan([5] * 10, batch_size=4, epochs=2, budget=100, seed=0)
    assert epoch_ends(steps) == {2, 5}


def test_the_rest_is_guessed_from_what_was_done() -> None:
    assert seconds_left(0, 10, 0.0) is None
    assert seconds_left(2, 10, 4.0) == 16.0


def test_progress_is_written_for_argo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "progress"
    progress = Progress(8, file=str(file))
    progress.begin(0)
    assert file.read_text() == "0/8"
    before = datetime.now(UTC).replace(microsecond=0)
    progress.tell(4, loss=1.5, here=2, seconds=10.0)
    after = datetime.now(UTC)
    assert file.read_text() == "4/8"
    told = TrainingProgress.parse(capsys.readouterr().err)
    assert told is not None
    assert (told.done, told.total, told.loss, told.percent) == (4, 8, 1.5, 50)
    assert told.end is not None
    assert before <= told.end - timedelta(seconds=20) <= after
    progress.tell(5, loss=1.4, here=3, seconds=15.0)
    assert capsys.readouterr().err == ""
    assert [path.name for path in tmp_path.iterdir()] == ["progress"]


def test_the_end_is_no_later_than_the_time_allows(capsys: pytest.CaptureFixture[str]) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    Progress(1000, file="").tell(1, loss=1.5, here=1, seconds=60.0, most=120.0)
    after = datetime.now(UTC)
    told = TrainingProgress.parse(capsys.readouterr().err)
    assert told is not None
    assert told.end is not None
    assert before <= told.end - timedelta(seconds=120) <= after


def test_a_progress_file_that_cannot_be_written_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress(2, file=str(tmp_path / "missing" / "progress"))
    progress.begin(0)
    progress.begin(1)
    assert capsys.readouterr().err.count("cannot be written") == 1


def test_threads_keep_to_affinity_quota_and_what_is_asked(tmp_path: Path) -> None:
    most = machine.threads(cgroup=tmp_path, environ={})
    assert most >= 1
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert machine.threads(cgroup=tmp_path, environ={}) == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.threads(cgroup=tmp_path, environ={}) == most
    assert machine.threads(cgroup=tmp_path, environ={"OMP_NUM_THREADS": "1"}) == 1
    assert machine.threads(cgroup=tmp_path, environ={"OMP_NUM_THREADS": "900"}) == most


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), DiskFull),
        (RuntimeError("I/O error: File too large (os error 27)"), DiskFull),
        (MemoryError(), OutOfMemory),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), OutOfMemory),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), OutOfMemory),
        (RuntimeError("shapes do not fit"), RuntimeError),
    ],
)
def test_failures_of_the_machine_are_readable(error: Exception, becomes: type[Exception]) -> None:
    with pytest.raises(becomes), readable_failures():
        raise error


def test_a_full_disk_is_found_below_the_error_of_a_store() -> None:
    error = RuntimeError("cannot store an object")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(DiskFull, match=r"disk is full.*begins anew") as told, readable_failures():
        raise error
    assert "goes on" not in str(told.value)  # checkpoints lie under the name of the run that ended
