"""What the steps of one run hand to each other: JSON objects in the work store."""

import io
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nexus_knowledge.errors import ObjectNotFound
from nexus_knowledge.ledger.types import WorkItem
from nexus_knowledge.objects import ObjectStore
from nexus_pipelines.arguments import IndexKey
from nexus_pipelines.errors import ShardMissing

_ROOT = "syncs/"
_KEPT_SECONDS = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What `sync-plan` decided, for the steps after it."""

    collection: str
    changes: int  # documents to ingest, removed, or deleted: whether the run touches anything


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of a run's work."""

    collection: str
    items: tuple[WorkItem, ...]


class RunStore:
    """The objects of one run, under `syncs/<tenant>/<index>/<run>/`."""

    def __init__(self, store: ObjectStore, index: IndexKey, run: str) -> None:
        self._store = store
        self._prefix = f"{_of_index(index)}{run}/"

    def put_plan(self, plan: RunPlan) -> None:
        """Store the plan; a repeated run of the step overwrites it."""
        self._put(f"{self._prefix}plan.json", asdict(plan))

    def plan(self) -> RunPlan | None:
        """Read the plan; None when the run was cleaned up."""
        value = self._get(f"{self._prefix}plan.json")
        return None if value is None else RunPlan(**value)

    def put_shards(
        self, collection: str, parts: Sequence[Sequence[WorkItem]]
    ) -> list[dict[str, Any]]:
        """Store shards and give what the Workflow passes on: `{"key", "count"}` for each."""
        references: list[dict[str, Any]] = []
        for number, part in enumerate(parts, start=1):
            key = f"{self._prefix}shard-{number:04}.json"
            items = [asdict(item) for item in part]
            self._put(key, {"collection": collection, "items": items})
            references.append({"key": key, "count": len(items)})
        return references

    def shard(self, key: str) -> Shard:
        """Read a shard by the key that `put_shards` gave.

        Raises:
            ShardMissing: it is not there, or not a shard of this run.
        """
        value = self._get(key) if key.startswith(self._prefix) else None
        if value is None:
            raise ShardMissing(f"{key!r} is no shard of run {self._prefix}; plan the sync again")
        return Shard(value["collection"], tuple(WorkItem(**item) for item in value["items"]))

    def clean_up(self) -> None:
        """Delete this run's objects."""
        _delete(self._store, self._prefix)

    def clean_up_abandoned(self) -> None:
        """Delete objects of runs that nobody published for a week."""
        oldest = time.time() - _KEPT_SECONDS
        for found in list(self._store.list(_ROOT)):
            if found.modified < oldest:
                self._store.delete(found.key)

    def _put(self, key: str, value: Any) -> None:
        data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        self._store.put(key, io.BytesIO(data), size=len(data))

    def _get(self, key: str) -> Any:
        try:
            with self._store.open(key) as stream:
                return json.load(stream)
        except ObjectNotFound:
            return None


def clean_up_runs(store: ObjectStore, index: IndexKey) -> None:
    """Delete what runs of an index left that broke off; none may be under way."""
    _delete(store, _of_index(index))


def _of_index(index: IndexKey) -> str:
    return f"{_ROOT}{index.tenant}/{index.name}/"


def _delete(store: ObjectStore, prefix: str) -> None:
    for found in list(store.list(prefix)):
        store.delete(found.key)
