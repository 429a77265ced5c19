"""When every version of an index was last counted: an object in the work store, one an index."""

import io
import time

from nexus_knowledge.errors import ObjectNotFound
from nexus_knowledge.objects import ObjectStore
from nexus_pipelines.arguments import IndexKey

_EVERY = 3600.0  # seconds between two counts


class Counted:
    """The mark of one index; without it the next sync counts, so that it can go at any time."""

    def __init__(self, store: ObjectStore, index: IndexKey) -> None:
        self._store = store
        self._mark = f"counted/{index.tenant}/{index.name}"

    def due(self, collection: str) -> bool:
        """Tell whether it is time again, or the index has another collection since."""
        try:
            if self._store.stat(self._mark).modified < time.time() - _EVERY:
                return True
            with self._store.open(self._mark) as counted:
                return counted.read() != collection.encode()
        except ObjectNotFound:
            return True

    def note(self, collection: str) -> None:
        """Say that the versions in a collection were counted now."""
        self._store.put(self._mark, io.BytesIO(collection.encode()))

    def forget(self) -> None:
        """Remove the mark; fine when there is none."""
        self._store.delete(self._mark)
