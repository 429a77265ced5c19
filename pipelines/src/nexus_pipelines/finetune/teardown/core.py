"""End a job in the work store: what its runs chose, tried and handed on goes."""

from nexus_pipelines.finetune.store import FineTuneStore


def remove_runs(job: FineTuneStore, uid: str) -> list[str]:
    """Delete the objects of the runs of the job `uid`; name the runs.

    What a newer job of the name has selected stays.  A run without a selection goes, whosever it
    was: none is under way, since a run and this step take the same lock, and none reads it again.
    """
    runs = [run for run in job.runs() if _is_of(job.sibling(run), uid)]
    for run in runs:
        job.sibling(run).remove()
    return runs


def _is_of(run: FineTuneStore, uid: str) -> bool:
    made = run.find_json("select/selection.json")
    return not isinstance(made, dict) or made.get("uid", uid) == uid
