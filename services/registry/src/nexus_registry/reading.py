"""What was tracked, read back: runs by name, and the table of items that a run stored."""

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nexus_registry.connection import Connection
from nexus_registry.errors import NotFound, Refused

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,249}")
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """One run as it was written."""

    id: str
    name: str
    experiment: str
    started: datetime
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]


class Reader:
    """Runs of those experiments that a caller may see."""

    def __init__(self, connection: Connection) -> None:
        """Speak through a connection; nothing is asked of it yet."""
        self._connection = connection

    def find(self, name: str, *, prefixes: Sequence[str]) -> list[TrackedRun]:
        """Return the runs of a name or id in experiments that begin so, oldest first.

        Raises:
            Refused: no run can have this name.
            Unavailable: MLflow could not be reached.
        """
        if not _NAME.fullmatch(name):
            raise Refused(f"{name!r} is no name of a run: letters, digits and . _ - only")
        if not self._connection.written():
            return []  # asking would make the database

        def search(client: "MlflowClient") -> list[TrackedRun]:
            names = _experiments(client, prefixes)
            if not names:
                return []
            found = [
                run
                for condition in ("run_name", "run_id")
                for run in client.search_runs(
                    list(names), f"attributes.{condition} = '{name}'", max_results=_PAGE
                )
            ]
            known = {run.info.run_id: _run(run, names) for run in found}
            return sorted(known.values(), key=lambda one: (one.started, one.id))

        return self._connection.call(f"find the run {name}", search)

    def table(self, run_id: str, path: str) -> list[dict[str, Any]]:
        """Return the rows of a table that `Run.table` wrote; empty fields are left out.

        Raises:
            NotFound: the run has no such table, or it is none.
        """

        def read(client: "MlflowClient") -> str:
            folder, _, _ = path.rpartition("/")
            # Asked first: fetching what is not there is an error without a code.
            if path not in {one.path for one in client.list_artifacts(run_id, folder or None)}:
                raise NotFound(f"run {run_id} has no {path}")
            with tempfile.TemporaryDirectory() as scratch:
                return Path(client.download_artifacts(run_id, path, scratch)).read_text("utf-8")

        text = self._connection.call(f"read {path} of run {run_id}", read)
        try:
            table = json.loads(text)
            columns, data = list(table["columns"]), list(table["data"])
            rows = [dict(zip(columns, row, strict=True)) for row in data]
        except (ValueError, KeyError, TypeError) as error:
            raise NotFound(f"run {run_id}: {path} is no table of items: {error}") from error
        return [{name: value for name, value in row.items() if value is not None} for row in rows]


def _experiments(client: "MlflowClient", prefixes: Sequence[str]) -> dict[str, str]:
    """Return the names of the experiments that begin so, by id."""
    names: dict[str, str] = {}
    token = None
    while True:
        page = client.search_experiments(max_results=_PAGE, page_token=token)
        for one in page:
            if one.name.startswith(tuple(prefixes)):
                names[str(one.experiment_id)] = one.name
        token = page.token
        if not token:
            return names


def _run(found: Any, experiments: Mapping[str, str]) -> TrackedRun:
    return TrackedRun(
        id=found.info.run_id,
        name=found.info.run_name or "",
        experiment=experiments[str(found.info.experiment_id)],
        started=datetime.fromtimestamp(found.info.start_time / 1000, UTC),
        metrics=dict(found.data.metrics),
        params=dict(found.data.params),
        tags=dict(found.data.tags),
    )
