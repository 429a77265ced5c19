"""Runs: what was done with which data and what came of it, once for each key.

A run is found again by its key (the tag `nexus.run`), so an attempt that died is taken up where it
stopped; writing the same again changes nothing.
"""

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nexus_registry.connection import Connection, error_code
from nexus_registry.errors import Refused

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

Entry = TypeVar("Entry")

RUN_TAG = "nexus.run"
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,249}")
_NAME_CHARACTERS = re.compile(r"[^A-Za-z0-9_. /-]")
_PER_BATCH = 100
_LONGEST_PARAM = 6000
_LONGEST_TAG = 5000
_DIGEST = 32  # characters that MLflow keeps of a data set's digest; the whole is a tag
_CONTEXT_TAG = "mlflow.data.context"
_TABLES_TAG = "mlflow.loggedArtifacts"


@dataclass(frozen=True, slots=True)
class DataSet:
    """Data that a run read."""

    name: str
    digest: str  # sha256, hex
    source: str  # where it lies
    context: str  # what for: training, validation, evaluation


@dataclass(frozen=True, slots=True)
class Measured:
    """One value of a metric."""

    name: str
    value: float
    step: int = 0


class Tracker:
    """The runs of one experiment."""

    def __init__(self, connection: Connection, experiment: str) -> None:
        """Name the experiment; it is made with its first run."""
        self._connection, self._experiment = connection, experiment

    def run(
        self, key: str, *, name: str, started: datetime, tags: Mapping[str, str] | None = None
    ) -> "Run":
        """Find the run with this key, or make it.

        Of two that were made in the same moment the older one stays; the other is deleted.

        Raises:
            Refused: no run can have this key, or the experiment was deleted.
            Unavailable: MLflow could not be reached.
        """
        if not _KEY.fullmatch(key):
            raise Refused(f"{key!r} is no key of a run: letters, digits and . _ / - only")
        experiment = self._experiment_id()
        milliseconds = round(started.timestamp() * 1000)

        def ensure(client: Any) -> str:
            found = self._found(client, experiment, key)
            if not found:
                client.create_run(
                    experiment, start_time=milliseconds, run_name=name,
                    tags={**(tags or {}), RUN_TAG: key},
                )  # fmt: skip
                found = self._found(client, experiment, key)
            for other in found[1:]:
                client.delete_run(other)
            return found[0]

        run_id = self._connection.call(f"make the run {key}", ensure)
        return Run(self._connection, run_id, milliseconds)

    def _experiment_id(self) -> str:
        def ensure(client: Any) -> str:
            known = client.get_experiment_by_name(self._experiment)
            if known is None:
                try:
                    made = client.create_experiment(self._experiment, self._place())
                except Exception as error:
                    if error_code(error) != "RESOURCE_ALREADY_EXISTS":
                        raise
                    known = client.get_experiment_by_name(self._experiment)
                else:
                    return str(made)
            if known.lifecycle_stage != "active":
                raise Refused(
                    f"the experiment {self._experiment} was deleted in MLflow; restore it there, "
                    "or delete it for good"
                )
            return str(known.experiment_id)

        return self._connection.call(f"make the experiment {self._experiment}", ensure)

    def _place(self) -> str | None:
        base = self._connection.artifacts
        return None if base is None else f"{base}/{self._experiment}"

    @staticmethod
    def _found(client: Any, experiment: str, key: str) -> list[str]:
        runs = client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{key}'", max_results=50)
        order = sorted((run.info.start_time, run.info.run_id) for run in runs)
        return [run_id for _, run_id in order]


class Run:
    """One run.  Every method may be repeated: the same values change nothing."""

    def __init__(self, connection: Connection, run_id: str, started: int) -> None:
        """Take a run up by its id; `started` in milliseconds stamps every metric."""
        self._connection, self.id, self._started = connection, run_id, started

    def params(self, values: Mapping[str, Any]) -> None:
        """Write parameters; once written, a parameter has its value for good.

        Raises:
            Refused: one of them was written with another value.
        """
        from mlflow.entities import Param

        known = [Param(_named(key), str(value)[:_LONGEST_PARAM]) for key, value in values.items()]
        for part in _parts(known):
            self._batch("write parameters", params=part)

    def metrics(self, values: Sequence[Measured]) -> None:
        """Write metrics; what is written again is the same point again."""
        from mlflow.entities import Metric

        known = [Metric(_named(one.name), one.value, self._started, one.step) for one in values]
        for part in _parts(known):
            self._batch("write metrics", metrics=part)

    def tags(self, values: Mapping[str, str]) -> None:
        """Write tags; the last value stays."""
        from mlflow.entities import RunTag

        known = [RunTag(key, value[:_LONGEST_TAG]) for key, value in values.items()]
        for part in _parts(known):
            self._batch("write tags", tags=part)

    def data(self, sets: Sequence[DataSet]) -> None:
        """Write which data the run read, with their digests."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(one.name, one.digest[:_DIGEST], "local", json.dumps({"uri": one.source})),
                [InputTag(_CONTEXT_TAG, one.context)],
            )
            for one in sets
        ]
        self._do("write its data sets", lambda client: client.log_inputs(self.id, datasets=inputs))
        self.tags({f"nexus.data.{one.context}": one.digest for one in sets})

    def text(self, path: str, text: str) -> None:
        """Store a text file with the run: a report, a page."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / Path(path).name
            file.write_text(text, encoding="utf-8")
            self.file(str(Path(path).parent), file)

    def file(self, folder: str, file: Path) -> None:
        """Store a file with the run, below `folder` ("." for the top)."""
        into = None if folder == "." else folder
        self._do(
            f"store {file.name}",
            lambda client: client.log_artifact(self.id, str(file), artifact_path=into),
        )

    def table(self, path: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store a table of items, which MLflow's page shows and compares.

        Columns are those of all rows, in the order in which they first appear.
        """
        columns = list(dict.fromkeys(name for row in rows for name in row))
        data = [[row.get(name) for name in columns] for row in rows]
        self.text(path, json.dumps({"columns": columns, "data": data}, ensure_ascii=False))
        self.tags({_TABLES_TAG: json.dumps([{"path": path, "type": "table"}])})

    def finish(self, *, good: bool = True) -> None:
        """Say that the run has ended."""
        status = "FINISHED" if good else "FAILED"
        self._do("end it", lambda client: client.set_terminated(self.id, status))

    def _batch(self, what: str, **entries: list[Any]) -> None:
        self._do(what, lambda client: client.log_batch(self.id, **entries))

    def _do(self, what: str, calls: Callable[["MlflowClient"], object]) -> None:
        self._connection.call(f"{what} (run {self.id})", calls)


def _parts(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    return (list(entries[at : at + _PER_BATCH]) for at in range(0, len(entries), _PER_BATCH))


def _named(name: str) -> str:
    """Return a name with the characters that MLflow takes."""
    return _NAME_CHARACTERS.sub("_", name)[:250]
