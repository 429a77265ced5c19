"""What `select` leaves for the steps after it."""

from nexus_evaluation.golden import GoldenSet, read
from nexus_pipelines.finetune.store import FineTuneStore

GOLDEN = "select/golden.jsonl"


def golden_set(store: FineTuneStore) -> GoldenSet:
    """Read the golden set of a run.

    Raises:
        RunObjectMissing: `select` has not ended well.
        nexus_evaluation.errors.EmptyGoldenSet: nothing was held out, and none is named.
        nexus_evaluation.errors.BadGoldenSet: it cannot be read.
    """
    with store.open(GOLDEN) as stream:
        return read(stream.read(), GOLDEN)
