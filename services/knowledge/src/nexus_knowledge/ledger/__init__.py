"""The ledger: which version of which document is live, and what is left to do.

A sync is ``begin_listing`` -> list the bucket -> ``plan_sync`` -> for each shard write chunks and
``settle`` -> ``publish`` -> ``garbage`` and ``garbage_done`` until nothing is left.  An index ends
with ``teardown`` -> its garbage -> ``forget``.  Every method is one transaction and may be
repeated; a crash between any two of them leaves nothing that the next sync does not finish.
"""

from nexus_knowledge.ledger.answers import Answers
from nexus_knowledge.ledger.cleaning import Cleaning
from nexus_knowledge.ledger.database import upgrade
from nexus_knowledge.ledger.documents import Documents
from nexus_knowledge.ledger.planning import Planning
from nexus_knowledge.ledger.publishing import Publishing
from nexus_knowledge.ledger.types import (
    Counts,
    Document,
    DocumentPage,
    DocumentState,
    Failed,
    Feedback,
    Garbage,
    Listed,
    Published,
    RatedResponse,
    Ready,
    Response,
    Reviewed,
    Settled,
    SyncPlan,
    View,
    WorkItem,
)

__all__ = [
    "Counts",
    "Document",
    "DocumentPage",
    "DocumentState",
    "Failed",
    "Feedback",
    "Garbage",
    "Ledger",
    "Listed",
    "Published",
    "RatedResponse",
    "Ready",
    "Response",
    "Reviewed",
    "Settled",
    "SyncPlan",
    "View",
    "WorkItem",
    "upgrade",
]


class Ledger(Planning, Publishing, Cleaning, Documents, Answers):
    """The ledger of all indexes."""
