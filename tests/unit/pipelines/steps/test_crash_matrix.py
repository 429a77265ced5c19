"""A step killed before or after each of its effects, then run again, ends as if nothing was."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

WORDS = "the pump is new and the valve is not so hot as the oil of the motor"


class Killed(BaseException):
    """Ends a step as SIGKILL would: no handler of ours catches it."""


class Killer:
    """Counts the effects of a step, and ends it at one of them."""

    def __init__(self, at: int, *, before: bool) -> None:
        self.at, self.before, self.calls = at, before, 0

    def wrap(self, part: Any) -> Any:
        return _Wrapped(part, self)


class _Wrapped:
    def __init__(self, part: Any, killer: Killer) -> None:
        self._part, self._killer = part, killer

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)

        def called(*args: Any, **options: Any) -> Any:
            self._killer.calls += 1
            mine = self._killer.calls == self._killer.at
            if mine and self._killer.before:
                raise Killed
            answer = method(*args, **options)
            if mine:
                # The kernel closes what a killed process had open.
                getattr(answer, "close", lambda: None)()
                raise Killed
            return answer

        return called


def texts(version: int) -> dict[str, str]:
    return {f"{n}.txt": f"{WORDS} {version} {n}. " * (1 + n) for n in range(5)}


def before_and_after(desk: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Make an index, then change, add and delete in its bucket."""
    for path, text in texts(1).items():
        desk.put(path, text)
    desk.sync("first")
    old = desk.searchable()
    desk.put("0.txt", texts(2)["0.txt"])
    desk.put("3.txt", texts(2)["3.txt"])
    desk.put("new.txt", WORDS)
    desk.remove("4.txt")
    new = {
        **{path: text.strip() for path, text in texts(1).items() if path in {"1.txt", "2.txt"}},
        **{path: texts(2)[path].strip() for path in ("0.txt", "3.txt")},
        "new.txt": WORDS,
    }
    return old, new


def only_whole_versions(seen: dict[str, str], old: dict[str, str], new: dict[str, str]) -> None:
    for path, text in seen.items():
        assert text in {old.get(path), new.get(path)}, f"{path} is half visible"


def test_a_sync_changes_what_is_searchable(desk: Any) -> None:
    _, new = before_and_after(desk)
    desk.sync("second")
    assert desk.searchable() == new
    desk.consistent()


def killed_everywhere(
    start: Any, root: Path, *, before: bool, alive: Callable[[Any], None]
) -> Iterator[Any]:
    """Give a desk for every effect of a sync: killed at it, judged, and run to its end."""
    at, killed = 0, True
    while killed:
        at += 1
        desk = start.copy(root / str(at))
        killer = Killer(at, before=before)
        desk.wrap = killer.wrap
        try:
            desk.sync("second")
            killed = False
        except Killed:
            pass
        desk.wrap = lambda part: part
        alive(desk)
        # The Workflow runs the step again; a lost Workflow is followed by the next sync.
        desk.sync("second" if at % 2 else None)
        desk.sync()
        desk.consistent()
        yield desk
        desk.ledger.close()
    assert at > 20, "not all effects were met"


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_killed_at_any_effect_and_run_again(desk: Any, tmp_path: Path, before: bool) -> None:
    old, new = before_and_after(desk)

    def alive(killed: Any) -> None:
        only_whole_versions(killed.searchable(), old, new)

    for healed in killed_everywhere(desk, tmp_path / "at", before=before, alive=alive):
        assert healed.searchable() == new


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_killed_while_a_new_collection_is_built(desk: Any, tmp_path: Path, before: bool) -> None:
    for path, text in texts(1).items():
        desk.put(path, text)
    desk.sync("first")
    old = desk.searchable()
    other = desk.spec.model_validate({"chunking": {"maxTokens": 32, "overlapTokens": 0}})

    def alive(killed: Any) -> None:
        assert killed.searchable() == old, "the old collection answers until the new one is whole"

    desk.spec = other
    for healed in killed_everywhere(desk, tmp_path / "at", before=before, alive=alive):
        assert healed.searchable() == old


def test_the_bucket_moves_on_between_the_steps(desk: Any) -> None:
    """Whatever happens between plan and publish, the next sync brings the truth."""
    old, _ = before_and_after(desk)
    (shard,) = desk.plan("second")
    desk.put("0.txt", "the third version")
    desk.remove("new.txt")
    summary = desk.ingest("second", shard)
    assert (summary.ingested, summary.left) == (1, 2)
    desk.publish("second")
    assert desk.searchable()["0.txt"] == old["0.txt"]
    desk.sync()
    assert desk.searchable()["0.txt"] == "the third version"
    assert "new.txt" not in desk.searchable()
    desk.consistent()


def test_a_writer_that_outlives_its_run_leaves_nothing(desk: Any) -> None:
    """A step that its Workflow gave up writes after a newer sync was published."""
    before_and_after(desk)
    (shard,) = desk.plan("late")
    with desk.work.open(shard["key"]) as stream:
        work = stream.read()
    desk.put("0.txt", "newer words")
    desk.remove("3.txt")
    desk.sync("newer")
    desk.work.put(shard["key"], io.BytesIO(work))
    late = desk.ingest("late", shard)
    assert late.ingested == 0
    desk.put("1.txt", "one more")
    desk.sync()
    desk.consistent()
    assert desk.searchable()["0.txt"] == "newer words"
    assert "3.txt" not in desk.searchable()
