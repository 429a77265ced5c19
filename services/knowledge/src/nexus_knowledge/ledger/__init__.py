"""The ledger: which version of which document is live, and what is left to do."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

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
    Ready,
    Response,
    Settled,
    SyncPlan,
    View,
    WorkItem,
)

__all__ = [
    "Counts", "Document", "DocumentPage", "DocumentState", "Failed", "Feedback", "Garbage",
    "Ledger", "Listed", "Published", "Ready", "Response", "Settled", "SyncPlan", "View",
    "WorkItem", "upgrade",
]  # fmt: skip


def upgrade(url: str) -> None:
    """Bring the ledger's tables to this release; several at once are fine."""
    raise NotImplementedError


class Ledger:
    """First version: signatures.  Each method is one transaction and safe to repeat."""

    def __init__(self, url: str, *, clock: Callable[[], datetime] | None = None) -> None: ...

    def close(self) -> None: ...

    # --- sync: begin_listing -> list the bucket -> plan_sync -> ingest: settle -> publish
    #     -> garbage/garbage_done until empty
    def begin_listing(self, tenant: str, index: str, uid: str) -> int:
        """Return the token to hand to plan_sync; call it BEFORE listing the bucket."""
        raise NotImplementedError

    def plan_sync(
        self, tenant: str, index: str, uid: str, *, fingerprint: str, limits: str = "",
        listing: Iterable[Listed], token: int,
    ) -> SyncPlan:  # fmt: skip
        """Compare a listing with the ledger.  ``limits``: digest of the parsing limits, so that
        failures are tried again when those change.  Raises IndexGone.
        """
        raise NotImplementedError

    def settle(self, tenant: str, index: str, outcomes: Sequence[Ready | Failed]) -> list[Settled]:
        """Record what became of versions (commit_version / fail_version, any number at once)."""
        raise NotImplementedError

    def still_wanted(self, tenant: str, index: str, items: Sequence[WorkItem]) -> list[WorkItem]:
        """Return the items that still need ingesting (a retried shard skips what is done)."""
        raise NotImplementedError

    def publish(self, tenant: str, index: str, uid: str, *, collection: str) -> Published:
        """Make all ready versions of ``collection`` live (collection as plan_sync gave it)."""
        raise NotImplementedError

    def garbage(self, tenant: str, index: str, *, limit: int = 200) -> list[Garbage]: ...

    def garbage_done(self, tenant: str, index: str, ids: Sequence[int]) -> None: ...

    # --- healing
    def expected(self, tenant: str, index: str) -> dict[tuple[str, int], int]:
        """Chunks by (document id, generation) that the active collection must hold now."""
        raise NotImplementedError

    def discard(self, tenant: str, index: str, collection: str,
                versions: Sequence[tuple[str, int]]) -> int:  # fmt: skip
        """Queue as garbage those of ``versions`` that no one may want (orphans found by a sweep)."""
        raise NotImplementedError

    def reingest(self, tenant: str, index: str, document_ids: Sequence[str]) -> None:
        """Have the next plan ingest these again, though unchanged (or failed before)."""
        raise NotImplementedError

    def collection_lost(self, tenant: str, index: str, uid: str, collection: str) -> None:
        """The vectors are gone: nothing of it is live any more, the next plan builds anew."""
        raise NotImplementedError

    # --- API
    def register_upload(self, tenant: str, index: str, document: Listed) -> Document:
        """Record an object just stored by the API (call after ObjectStore.put)."""
        raise NotImplementedError

    def delete_document(
        self, tenant: str, index: str, document_id: str, *, etag: str | None = None,
        modified: float | None = None,
    ) -> Document:  # fmt: skip
        """Never cited from the return on.  Call BEFORE ObjectStore.delete(document.key), with the
        object's current etag and modified (from stat) when there is one; then object_deleted.
        """
        raise NotImplementedError

    def object_deleted(self, tenant: str, index: str, document_id: str) -> None: ...

    def document(self, tenant: str, index: str, document_id: str) -> Document:
        """Raises DocumentNotFound."""
        raise NotImplementedError

    def documents(
        self, tenant: str, index: str, *, state: DocumentState | None = None,
        after: str | None = None, limit: int = 100,
    ) -> DocumentPage: ...  # fmt: skip

    def counts(self, tenant: str, index: str) -> Counts: ...

    def view(self, tenant: str, index: str) -> View | None:
        """None before the first publish."""
        raise NotImplementedError

    def live(
        self, tenant: str, index: str, document_ids: Sequence[str]
    ) -> tuple[int, dict[str, int]]:
        """Return (revision, {document_id: live generation}) for those that may be cited."""
        raise NotImplementedError

    # --- teardown: teardown -> drop what garbage() names -> garbage_done -> forget
    def teardown(self, tenant: str, index: str, uid: str) -> bool:
        """Nothing is live any more, collections become garbage.  False: not (or no longer) ours."""
        raise NotImplementedError

    def forget(self, tenant: str, index: str, uid: str) -> bool:
        """Remove the rows of a torn-down index once its garbage is gone."""
        raise NotImplementedError

    # --- answers
    def log_response(self, response: Response) -> None: ...

    def add_feedback(self, feedback: Feedback) -> bool:
        """Store feedback; True when the answer it speaks of is in the log."""
        raise NotImplementedError

    def responses(self, tenant: str, *, limit: int = 100) -> list[Response]: ...

    def feedback(self, tenant: str, *, limit: int = 100) -> list[Feedback]: ...
