"""End an index outside the cluster: nothing is cited any more, then everything goes."""

from collections.abc import Callable

from nexus_knowledge.ledger import Ledger
from nexus_knowledge.vectors import VectorIndex
from nexus_pipelines.arguments import IndexKey
from nexus_pipelines.errors import StillInUse
from nexus_pipelines.publish.sweeping import collect_garbage


def tear_down(key: IndexKey, uid: str, ledger: Ledger, vectors: Callable[[], VectorIndex]) -> bool:
    """Remove an index; the source documents stay.

    False when there is nothing of this resource: it never synced, is gone already, or a newer
    resource of the same name owns the index.
    """
    if not ledger.teardown(*key, uid):
        return False
    if ledger.garbage(*key, limit=1):
        collect_garbage(key, ledger, vectors())
    if not ledger.forget(*key, uid):
        raise StillInUse(f"{key}: more to remove turned up; the next try removes it")
    return True
