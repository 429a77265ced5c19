"""An experiment in MLflow: one run for each way to answer, below one that holds the report."""

import math
from collections.abc import Mapping
from datetime import datetime

from nexus_evaluation.experiment import Arm, Gain
from nexus_evaluation.golden import GoldenSet
from nexus_evaluation.results import means
from nexus_pipelines.errors import UsageError
from nexus_pipelines.experiment.matrix.core import arm_of, run_name
from nexus_pipelines.experiment.matrix.plan import Matrix, Way
from nexus_pipelines.experiment.stored import TABLE, experiments, from_rows, to_rows
from nexus_pipelines.finetune.store import inputs_digest
from nexus_pipelines.revision import code_revision
from nexus_registry import Connection, DataSet, Measured, Reader, Run, Tracker

_ASKED = "nexus.asked"  # by which a run that is whole is known again; written last
_PARENT = "mlflow.parentRunId"  # by which MLflow's page shows runs below one another


class Record:
    """The runs of one experiment."""

    def __init__(
        self, connection: Connection, namespace: str, group: str, golden: GoldenSet, when: datetime
    ) -> None:
        """Name the experiment; nothing is written yet."""
        self._experiment = experiments(namespace)
        self._tracker, self._reader = Tracker(connection, self._experiment), Reader(connection)
        self._place = f"{namespace}/experiments/{group}"
        self._group, self._golden, self._when = group, golden, when
        self._whole: Run | None = None

    def finished(self, way: Way, matrix: Matrix, system: str) -> Arm | None:
        """Return what came of a way to answer when it was asked before; None when it was not.

        Raises:
            UsageError: the run of its number was asked otherwise.
        """
        name = run_name(self._group, way.number)
        found = self._reader.find(name, prefixes=(self._experiment,))
        whole = [one for one in found if _ASKED in one.tags]
        if not whole:
            return None
        if whole[0].tags[_ASKED] != self._asked(way, matrix, system):
            raise UsageError(
                f"{name} was asked otherwise: matrix, prompts or golden set are not those of "
                f"{self._group}; leave --resume out"
            )
        rows = self._reader.table(whole[0].id, TABLE)
        refused = {str(row["id"]): str(row["refused"]) for row in rows if "refused" in row}
        return arm_of(way, from_rows(name, rows).results, refused, group=self._group)

    def begun(self) -> bool:
        """Tell whether anything of this experiment was tracked."""
        return bool(self._reader.find(self._group, prefixes=(self._experiment,)))

    def arm(self, way: Way, arm: Arm, matrix: Matrix, system: str, gain: Gain | None) -> None:
        """Write the run of one way to answer, whole: what was asked, scores, answers by item."""
        run = self._tracker.run(
            f"{self._place}/{way.number}",
            name=arm.run,
            started=self._when,
            tags={_PARENT: self._parent().id},
        )
        run.tags({"nexus.code": code_revision(), "nexus.golden": self._golden.digest})
        run.params(
            {
                "model": arm.model,
                "prompt": arm.prompt,
                "system": system,
                "retrieval": arm.retrieval,
                **(way.retrieval.asked if way.retrieval else {}),
                "index": way.index,
                "maxTokens": matrix.max_tokens,
                "temperature": 0,
                "metric": matrix.metric,
                "baseline": arm.baseline,
            }
        )
        run.metrics(_measured(arm, gain))
        run.data([self._data(matrix)])
        questions = {item.id: item.question for item in self._golden.items}
        rows = to_rows(arm.results, questions)
        run.table(TABLE, [{**row, "refused": arm.refused.get(row["id"])} for row in rows])
        run.finish()
        run.tags({_ASKED: self._asked(way, matrix, system)})

    def _asked(self, way: Way, matrix: Matrix, system: str) -> str:
        """Name all that the answers of a way depend on, as far as the experiment says it."""
        return inputs_digest(
            golden=self._golden.digest,
            model=way.model,
            system=system,
            index=way.index,
            retrieval=way.retrieval.asked if way.retrieval else {},
            max_tokens=matrix.max_tokens,
            metric=matrix.metric,
        )

    def report(self, page: str) -> None:
        """Write the report to the run that the others lie below, and end it."""
        run = self._parent()
        run.text("report.html", page)
        run.finish()

    def _parent(self) -> Run:
        if self._whole is None:
            self._whole = self._tracker.run(self._place, name=self._group, started=self._when)
        return self._whole

    def _data(self, matrix: Matrix) -> DataSet:
        name = self._golden.name or "golden"
        return DataSet(name, self._golden.digest, matrix.golden_set, "evaluation")


def _measured(arm: Arm, gain: Gain | None) -> list[Measured]:
    times = arm.latency
    found: Mapping[str, float | None] = {
        **means(arm.results),
        "items": float(len(arm.results)),
        "refused": float(len(arm.refused)),
        "latencyP50": times.p50 if times else None,
        "latencyP95": times.p95 if times else None,
        "gain": gain.by if gain else None,
        "gain.lower": gain.lower if gain else None,
        "gain.upper": gain.upper if gain else None,
    }
    return [
        Measured(name, value)
        for name, value in found.items()
        if value is not None and math.isfinite(value)
    ]
