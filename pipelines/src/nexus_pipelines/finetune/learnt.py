"""What better models of a job have learnt: none of it may judge their successors.

Each run hands the marks on that it found, with those of a better model before it: so they outlive
the objects of the runs that learnt, and the files that were learnt from.  Marks are hashes; no
name and no text of what was deleted stays.
"""

from collections.abc import Iterable

from nexus_pipelines.finetune.store import FineTuneStore, RunObjectMissing

_LEARNT = "select/learnt.jsonl"


def write_learnt(store: FineTuneStore, marks: Iterable[str]) -> None:
    """Leave the marks (`examples.marks`) of all that was learnt before a run."""
    store.put_lines(_LEARNT, ({"mark": one} for one in sorted(marks)))


def learnt_before(store: FineTuneStore, runs: Iterable[str]) -> set[str]:
    """Return the marks that runs of the job left; a run of an older release left none."""
    found: set[str] = set()
    for run in runs:
        try:
            found.update(str(row["mark"]) for row in store.sibling(run).lines(_LEARNT))
        except RunObjectMissing:
            continue
    return found
