"""What each run of a job read, so that the next one's news can be told from it.

`select` leaves it beside its selection; the newest run of the job that has it is the baseline.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from nexus_pipelines.finetune.store import FineTuneStore

_SEEN = "select/seen.jsonl"
_SELECTION = "select/selection.json"  # written after it: who has it has both


class Baseline(NamedTuple):
    """A run (empty for none yet) and what its examples said (`Example.said`)."""

    run: str = ""
    seen: frozenset[str] = frozenset()


def write_seen(store: FineTuneStore, seen: Iterable[str]) -> None:
    """Leave what a run read; before its selection."""
    store.put_lines(_SEEN, ({"said": one} for one in seen))


def baseline(store: FineTuneStore, uid: str) -> Baseline:
    """Find the newest run of the job `uid` that read its examples to the end.

    Runs of a former job of the name are passed over, and so are those of a release that did not
    write down what it read.
    """
    known: list[tuple[str, str]] = []
    for run in store.runs():
        made: Any = store.sibling(run).find_json(_SELECTION)
        if isinstance(made, dict) and made.get("uid") == uid:
            known.append((str(made.get("asOf")), run))
    if not known:
        return Baseline()
    _, newest = max(known)
    lines = store.sibling(newest).lines(_SEEN)
    return Baseline(newest, frozenset(str(row["said"]) for row in lines))
