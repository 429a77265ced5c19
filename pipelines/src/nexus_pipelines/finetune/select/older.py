"""What earlier runs learnt from, as far as it still may be learnt.

An example comes back only while what it was read from is still there, unchanged: the object by
its etag, the answer by its id.  Whatever was deleted or edited stays away.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from nexus_knowledge.errors import ObjectNotFound
from nexus_knowledge.objects import ObjectStore
from nexus_pipelines.finetune.select.examples import (
    Example,
    Origin,
    Source,
    asked_with,
    from_row,
    group_mark,
    marks,
)
from nexus_pipelines.finetune.select.prompts import Asking
from nexus_pipelines.finetune.store import FineTuneStore, RunObjectMissing

RUNS = 5  # the newest ones are looked at
_GOOD = frozenset({"Promote", "AskPerson"})


class Earlier(NamedTuple):
    """Runs of the job for an earlier time than this one, oldest first.

    `good`: the newest of those that made a better model.  What a run learnt from whose data or
    model failed its gates is not known to be good.
    """

    runs: list[str]
    good: list[str]


def earlier_runs(store: FineTuneStore, uid: str, as_of: str) -> Earlier:
    """Name the earlier runs of the job `uid`; a former job of the name is another."""
    known, good = [], set()
    for run in store.runs():
        if run == store.run:
            continue
        sibling = store.sibling(run)
        made = sibling.find_json("select/selection.json")
        if not isinstance(made, dict) or made.get("uid", uid) != uid:
            continue
        if str(made.get("asOf", "~")) < as_of:
            known.append((str(made["asOf"]), run))
            decision = sibling.find_json("gate/decision.json")
            if isinstance(decision, dict) and decision.get("verdict") in _GOOD:
                good.add(run)
    runs = [run for _, run in sorted(known)]
    return Earlier(runs, [run for run in runs if run in good][-RUNS:])


def examples(
    store: FineTuneStore, runs: list[str], origins: "Origins", asking: Asking, learnt: set[str]
) -> Iterator[Example]:
    """Yield what those runs learnt from, each conversation once, of the newest run.

    The marks of all that they learnt from are added to `learnt`, also of what is gone since.
    """
    seen: set[str] = set()
    for run in reversed(runs):
        try:
            rows = list(store.sibling(run).lines("select/train.jsonl"))
        except RunObjectMissing:
            continue  # the run is being cleaned up
        read = [one for row in rows if (one := _readable(row, asking)) is not None]
        learnt.update(group_mark(str(row.get("document") or row.get("id"))) for row in rows)
        learnt.update(mark for one in read for mark in marks(one))
        origins.look_up(read)
        for one in read:
            if one.id not in seen and origins.has(one):
                seen.add(one.id)
                yield replace(one, source=Source.OLDER)


class Origins:
    """Knows which objects and answers are still what they were."""

    def __init__(
        self, buckets: list[ObjectStore], answered: Callable[[list[str]], set[str]]
    ) -> None:
        """Take the buckets of the spec, and what tells which answers are still in the log."""
        self._buckets, self._answered = buckets, answered
        self._known: dict[Origin, bool] = {}

    def look_up(self, examples: list[Example]) -> None:
        """Look at what the examples were read from, once each."""
        places = {_place(one.origin) for one in examples} - self._known.keys()
        answers = sorted(place.key for place in places if place.kind == "response")
        there = self._answered(answers) if answers else set()
        for place in places:
            found = place.key in there if place.kind == "response" else self._has_object(place)
            self._known[place] = found

    def has(self, example: Example) -> bool:
        """Say whether what was looked up is there, unchanged."""
        return self._known.get(_place(example.origin), False)

    def _has_object(self, place: Origin) -> bool:
        for bucket in self._buckets:
            try:
                if bucket.stat(place.key).etag == place.etag:
                    return True
            except ObjectNotFound:
                continue
        return False


def _place(origin: Origin) -> Origin:
    return origin._replace(line=0)


def _readable(row: dict[str, object], asking: Asking) -> Example | None:
    """Read a row of an earlier run, asked as is asked now.

    None for one of a release that wrote another form, and for one that is too long by now.
    """
    try:
        one = from_row(row)
        if not one.composed:
            return one
        messages = asked_with(one.question, one.passages, one.answer, asking)
    except (KeyError, TypeError, ValueError):
        return None
    return replace(one, messages=messages)
