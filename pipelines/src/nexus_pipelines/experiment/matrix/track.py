"""An experiment in MLflow: one run for each way to answer, below one that holds the report."""

import math
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version

from nexus_evaluation.experiment import Arm, Gain
from nexus_evaluation.golden import GoldenSet
from nexus_evaluation.results import means
from nexus_pipelines.experiment.matrix.plan import Matrix, Way
from nexus_pipelines.experiment.stored import TABLE, experiments, to_rows
from nexus_registry import Connection, DataSet, Measured, Run, Tracker

_PARENT = "mlflow.parentRunId"  # by which MLflow's page shows runs below one another


class Record:
    """The runs of one experiment."""

    def __init__(
        self, connection: Connection, namespace: str, group: str, golden: GoldenSet, when: datetime
    ) -> None:
        """Name the experiment; nothing is written yet."""
        self._tracker = Tracker(connection, experiments(namespace))
        self._place = f"{namespace}/experiments/{group}"
        self._group, self._golden, self._when = group, golden, when
        self._whole: Run | None = None

    def arm(self, way: Way, arm: Arm, matrix: Matrix, system: str, gain: Gain | None) -> None:
        """Write the run of one way to answer, whole: what was asked, scores, answers by item."""
        run = self._tracker.run(
            f"{self._place}/{way.number}",
            name=arm.run,
            started=self._when,
            tags={_PARENT: self._parent().id},
        )
        run.tags({"nexus.code": version("nexus-pipelines"), "nexus.golden": self._golden.digest})
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
        run.table(TABLE, to_rows(arm.results, questions))
        run.finish()

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
